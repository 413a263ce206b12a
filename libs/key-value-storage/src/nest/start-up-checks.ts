/**
 * Mistakes that are found before anything is opened, so that a refused start-up holds no file and
 * no connection.
 */
import type { ModulesContainer } from '@nestjs/core';
import { invalidOption } from '../core/base/options.js';
import type { ResolvedState } from '../core/store/state-definition.js';
import { onceForApplication } from './once-for-application.js';

/** What one `forFeature` declared; it hangs on the module class that it answered. */
export interface Feature {
  readonly states: readonly ResolvedState[];
  readonly place: string;
}
export const featureSymbol = Symbol.for('kvent.feature');

function featuresOf(modules: ModulesContainer): readonly Feature[] {
  return [...modules.values()].flatMap(({ metatype }) => {
    const feature = (metatype as { readonly [featureSymbol]?: Feature })[featureSymbol];
    return feature === undefined ? [] : [feature];
  });
}

/**
 * On the module class of another package that keeps rows on the storage: what it checks before
 * anything is opened. `INVALID_OPTION` stops the start-up. It is called once, however many of its
 * modules there are.
 */
export const startUpCheckSymbol = Symbol.for('kvent.start-up-check');
export type StartUpCheck = (modules: ModulesContainer, storage: StartUpContext) => void;

export function startUpChecksOf(modules: ModulesContainer): ReadonlySet<StartUpCheck> {
  const checks = [...modules.values()].map(
    ({ metatype }) => (metatype as { readonly [startUpCheckSymbol]?: StartUpCheck })[startUpCheckSymbol],
  );
  return new Set(checks.filter((check) => check !== undefined));
}

/** `INVALID_OPTION` for a second root, naming where both are. */
export function assertOneRoot(places: readonly string[]): void {
  if (places.length > 1) {
    throw invalidOption(
      `KeyValueStorageModule.forRoot is there ${places.length} times, and may be once for each application (it is global): ${places.join(' and ')}. Further engines go into forRoot({ providers }).`,
    );
  }
}

export function noRoot({ states, place }: Feature) {
  return invalidOption(
    `KeyValueStorageModule.forFeature([${states.map(nameOf).join(', ')}]) (${place}) has no KeyValueStorageModule.forRoot: import it once, in the module of the application.`,
  );
}

/** What is known of the storage before it is opened. */
export interface StartUpContext {
  /** The names in `forRoot({ providers })`. */
  readonly providers: readonly string[];
  /** With `overrideStorage`: those of them that are the main provider under another name. */
  readonly oneEngine: readonly string[];
  /** Of states that name none. */
  readonly scope: 'tenant' | 'shared';
}

const startKey = Symbol('kvent.start');
const startOf = (modules: ModulesContainer): { isOver: boolean } =>
  onceForApplication(modules, startKey, () => ({ isOver: false }));

/**
 * Whether the modules of the application have been initialised. Nest calls no `onModuleInit` of a
 * module that is loaded from then on.
 */
export const hasStarted = (modules: ModulesContainer): boolean => startOf(modules).isOver;
export function markStarted(modules: ModulesContainer): void {
  startOf(modules).isOver = true;
}

const surroundingsKey = Symbol('kvent.surroundings');
const admittedKey = Symbol('kvent.admitted-states');

const admittedOf = (modules: ModulesContainer): Set<Feature> =>
  onceForApplication(modules, admittedKey, () => new Set<Feature>());

/**
 * The same for modules that are loaded later; `undefined` before the storage of the application is
 * opened.
 */
export const startUpContextOf = (modules: ModulesContainer): StartUpContext | undefined =>
  onceForApplication<{ value?: StartUpContext }>(modules, surroundingsKey, () => ({})).value;

/** Checks all states that are there, before the storage is opened. */
export function admitAll(modules: ModulesContainer, surroundings: StartUpContext): void {
  const features = featuresOf(modules);
  assertStates(features, surroundings);
  for (const feature of features) admittedOf(modules).add(feature);
  onceForApplication<{ value?: StartUpContext }>(modules, surroundingsKey, () => ({})).value = surroundings;
}

/**
 * The same for the states of a module that is loaded later, against those that were admitted before
 * it.
 */
export function admit(modules: ModulesContainer, feature: Feature): void {
  const [admitted, surroundings] = [admittedOf(modules), startUpContextOf(modules)];
  if (surroundings === undefined || admitted.has(feature)) return;
  assertStates([...admitted, feature], surroundings);
  admitted.add(feature);
}

/**
 * `INVALID_OPTION` for a state whose provider has no such name, and for two states that would share
 * their rows, naming both places.
 */
function assertStates(features: readonly Feature[], { providers, oneEngine, scope }: StartUpContext): void {
  const seen = new Map<string, { readonly state: ResolvedState; readonly place: string }>();
  for (const { states, place } of features) {
    for (const state of states) {
      assertProviderName(state, place, providers);
      const engine = state.provider === undefined || oneEngine.includes(state.provider) ? '' : state.provider;
      const rows = JSON.stringify([engine, state.scope ?? scope, state.container, state.entity]);
      const other = seen.get(rows);
      seen.set(rows, { state, place });
      if (other !== undefined && other.state !== state) throw twoStatesOfOneName(other, { state, place });
    }
  }
}

function assertProviderName(state: ResolvedState, place: string, providers: readonly string[]): void {
  if (state.provider === undefined || providers.includes(state.provider)) return;
  const known =
    providers.length === 0
      ? 'forRoot names none'
      : `forRoot has ${providers.map((name) => `'${name}'`).join(', ')}`;
  throw invalidOption(
    `${nameOf(state)} (forFeature at ${place}) wants the provider '${state.provider}'; ${known} in its providers.`,
  );
}

function twoStatesOfOneName(
  first: { readonly state: ResolvedState; readonly place: string },
  second: { readonly state: ResolvedState; readonly place: string },
) {
  const [one, two] = [first, second].map(({ state, place }) => `${nameOf(state)} (forFeature at ${place})`);
  return invalidOption(
    `Two states would share their rows: ${one} and ${two} have the same name, container, scope and provider. Rename one, or give it a container of its own.`,
  );
}

/**
 * How a message calls a state: the class where there is one, and the name that its data live under.
 */
function nameOf({ name, prototype }: ResolvedState): string {
  const className = (prototype?.constructor as { readonly name?: string } | undefined)?.name;
  return className ? `class ${className} ('${name}')` : `state '${name}'`;
}
