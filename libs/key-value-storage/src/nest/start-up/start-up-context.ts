/**
 * The application during its start-up, and the checks that run before its storage opens.
 */
import type { ModulesContainer } from '@nestjs/core';
import { onceForApplication } from './once-for-application.js';

/** The configuration of the storage before it opens. */
export interface StartUpContext {
  /** The names in `forRoot({ providers })`. */
  readonly providers: readonly string[];
  /** With `overrideStorage`: the names that refer to the main provider. */
  readonly sharedProviders: readonly string[];
  /** The scope of definitions without one. */
  readonly scope: 'tenant' | 'shared';
}

/**
 * A check on the module class of a package, which runs before the storage opens. `INVALID_OPTION`
 * stops the start-up. Called once, also if several modules have it.
 */
export const startUpCheckSymbol = Symbol.for('kvent.start-up-check');
export type StartUpCheck = (modules: ModulesContainer, context: StartUpContext) => void;

export function startUpChecksOf(modules: ModulesContainer): ReadonlySet<StartUpCheck> {
  return new Set(declaredOn<StartUpCheck>(modules, startUpCheckSymbol));
}

/** The values of the module classes of an application under a symbol. */
export function declaredOn<T>(modules: ModulesContainer, symbol: symbol): readonly T[] {
  return [...modules.values()].flatMap(({ metatype }) => {
    const declared = (metatype as unknown as Readonly<Record<symbol, T | undefined>>)[symbol];
    return declared === undefined ? [] : [declared];
  });
}

const stateKey = Symbol('kvent.start-up');
const stateOf = (modules: ModulesContainer): { hasStarted: boolean; context?: StartUpContext } =>
  onceForApplication(modules, stateKey, () => ({ hasStarted: false }));

/** `undefined` before the storage of the application opens. */
export const startUpContextOf = (modules: ModulesContainer): StartUpContext | undefined =>
  stateOf(modules).context;
export function setStartUpContext(modules: ModulesContainer, context: StartUpContext): void {
  stateOf(modules).context = context;
}

/**
 * Whether the modules of the application have been initialised. Nest calls no `onModuleInit` of a
 * module that is loaded after that.
 */
export const hasStarted = (modules: ModulesContainer): boolean => stateOf(modules).hasStarted;
export function markStarted(modules: ModulesContainer): void {
  stateOf(modules).hasStarted = true;
}
