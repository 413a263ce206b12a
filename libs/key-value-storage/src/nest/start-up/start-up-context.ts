/**
 * What is known of an application while it starts, and the checks that run before its storage
 * opens.
 */
import type { ModulesContainer } from '@nestjs/core';
import { onceForApplication } from './once-for-application.js';

/** What is known of the storage before it is opened. */
export interface StartUpContext {
  /** The names in `forRoot({ providers })`. */
  readonly providers: readonly string[];
  /** With `overrideStorage`: those of them that are the main provider under another name. */
  readonly sharedProviders: readonly string[];
  /** Of definitions that name none. */
  readonly scope: 'tenant' | 'shared';
}

/**
 * On the module class of a package that keeps rows on the storage: what it checks before anything
 * is opened. `INVALID_OPTION` stops the start-up. Called once, however many modules carry it.
 */
export const startUpCheckSymbol = Symbol.for('kvent.start-up-check');
export type StartUpCheck = (modules: ModulesContainer, context: StartUpContext) => void;

export function startUpChecksOf(modules: ModulesContainer): ReadonlySet<StartUpCheck> {
  return new Set(declaredOn<StartUpCheck>(modules, startUpCheckSymbol));
}

/** What the module classes of an application carry under a symbol. */
export function declaredOn<T>(modules: ModulesContainer, symbol: symbol): readonly T[] {
  return [...modules.values()].flatMap(({ metatype }) => {
    const declared = (metatype as unknown as Readonly<Record<symbol, T | undefined>>)[symbol];
    return declared === undefined ? [] : [declared];
  });
}

const stateKey = Symbol('kvent.start-up');
const stateOf = (modules: ModulesContainer): { hasStarted: boolean; context?: StartUpContext } =>
  onceForApplication(modules, stateKey, () => ({ hasStarted: false }));

/** `undefined` before the storage of the application is opened. */
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
