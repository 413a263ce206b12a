/**
 * The declarations of `forFeature`, and their errors, which are found before the storage opens.
 */
import type { Type } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import { anotherCopy } from '../../core/base/another-copy.js';
import { located } from '../../core/base/call-site.js';
import { inspect } from '../../core/base/inspect.js';
import { didYouMean, invalidOption } from '../../core/base/options.js';
import { onceForApplication } from './once-for-application.js';
import { declaredOn, startUpContextOf, type StartUpContext } from './start-up-context.js';

/** The call site of `forRoot`. `Symbol.for`: another copy of the package looks for it too. */
export const rootCallSiteToken = Symbol.for('kvent.root-call-site');

/** The declarations of one call of `forFeature`, and its call site. */
export interface Feature<T> {
  readonly definitions: readonly T[];
  readonly declaredAt: string;
}

interface Definition {
  readonly provider?: string | undefined;
  readonly scope?: 'tenant' | 'shared' | undefined;
}

/** The features of one kind: those of states, or those of streams. */
export class FeatureKind<T extends Definition> {
  readonly #symbol: symbol;
  readonly #nameOf: (definition: T) => string;
  readonly #rowsOf: (definition: T) => readonly unknown[];
  readonly #remedy: string;
  readonly #admittedKey = Symbol('kvent.admitted');

  /** `rowsOf` returns what separates the rows of a definition, besides provider and scope. */
  constructor(
    name: string,
    nameOf: (definition: T) => string,
    rowsOf: (definition: T) => readonly unknown[],
    remedy: string,
  ) {
    this.#symbol = Symbol.for(`kvent.${name}`);
    this.#nameOf = nameOf;
    this.#rowsOf = rowsOf;
    this.#remedy = remedy;
  }

  /** `marks` are further properties of the module class. */
  moduleOf(name: string, feature: Feature<T>, marks: Readonly<Record<symbol, unknown>> = {}): Type<unknown> {
    return namedModule(name, { ...marks, [this.#symbol]: feature });
  }

  declaredIn(modules: ModulesContainer): readonly Feature<T>[] {
    return declaredOn<Feature<T>>(modules, this.#symbol);
  }

  /** Checks all features of the application, before the storage opens. */
  admitAll(modules: ModulesContainer, context: StartUpContext): void {
    const features = this.declaredIn(modules);
    this.#assertDefinitions(features, context);
    for (const feature of features) this.#admittedIn(modules).add(feature);
  }

  /** Checks the feature of a lazily loaded module against the earlier ones. */
  admit(modules: ModulesContainer, feature: Feature<T>): void {
    const [admitted, context] = [this.#admittedIn(modules), startUpContextOf(modules)];
    if (context === undefined || admitted.has(feature)) return;
    this.#assertDefinitions([...admitted, feature], context);
    admitted.add(feature);
  }

  #admittedIn(modules: ModulesContainer): Set<Feature<T>> {
    return onceForApplication(modules, this.#admittedKey, () => new Set<Feature<T>>());
  }

  /**
   * `INVALID_OPTION` for a definition with an unknown provider, and for two definitions that would
   * share their rows, with both call sites.
   */
  #assertDefinitions(
    features: readonly Feature<T>[],
    { providers, sharedProviders, scope }: StartUpContext,
  ): void {
    const seen = new Map<string, { readonly definition: T; readonly called: string }>();
    for (const { definitions, declaredAt } of features) {
      for (const definition of definitions) {
        const { provider = '' } = definition;
        const called = `${this.#nameOf(definition)} (forFeature at ${declaredAt})`;
        if (provider !== '' && !providers.includes(provider))
          throw unknownProvider(called, provider, providers);
        const engine = sharedProviders.includes(provider) ? '' : provider;
        const rows = JSON.stringify([engine, definition.scope ?? scope, ...this.#rowsOf(definition)]);
        const other = seen.get(rows);
        seen.set(rows, { definition, called });
        if (other !== undefined && other.definition !== definition)
          throw invalidOption(`${other.called} and ${called} would share their rows. ${this.#remedy}`);
      }
    }
  }
}

/** The definitions of a `forFeature`; `INVALID_OPTION` with its call site for anything else. */
export function definitionsIn<D>(
  module: string,
  given: readonly unknown[],
  declaredAt: string,
  definitionOf: (value: unknown) => D,
): readonly D[] {
  if (!Array.isArray(given))
    throw invalidOption(
      `${module}.forFeature (${declaredAt}) takes a list: forFeature([…]); got ${typeof given === 'function' ? 'a class' : inspect(given)}.`,
    );
  const place = () => `${module}.forFeature (${declaredAt})`;
  return located(place, () => given.map(definitionOf));
}

/**
 * A new class, so that Nest does not treat two features as one, or a feature as the root.
 */
export function namedModule(name: string, marks: Readonly<Record<symbol, unknown>>): Type<unknown> {
  // oxlint-disable-next-line typescript/no-extraneous-class -- Nest identifies modules by their classes
  return Object.assign({ [name]: class {} }[name] as Type<unknown>, marks);
}

function unknownProvider(called: string, provider: string, providers: readonly string[]) {
  const known = providers.length === 0 ? 'none' : providers.map((name) => `'${name}'`).join(', ');
  return invalidOption(
    `${called} requires the provider '${provider}'; forRoot({ providers }) has ${known}.${didYouMean(provider, providers)}`,
  );
}

/** `INVALID_OPTION` for a second root, with both call sites. */
export function assertOneRoot(module: string, declaredAt: readonly string[], remedy = ''): void {
  if (declaredAt.length > 1)
    throw invalidOption(
      `${module}.forRoot is imported ${declaredAt.length} times: ${declaredAt.join(' and ')}. It is global: import it once in an application.${remedy}`,
    );
}

/** The error of features without a root of this copy of the package; `who` names them. */
export function missingRoot(who: string, modules: ModulesContainer): Error {
  const place = rootCallSiteIn(modules);
  if (place !== undefined)
    return anotherCopy(`KeyValueStorageModule.forRoot (${place}) is imported, but ${who}`);
  return invalidOption(
    `${who} has no KeyValueStorageModule.forRoot: import it once, in the module of the application.`,
  );
}

/**
 * For what got `undefined` in place of the storage of a root that is imported. Nest does this to an
 * optional dependency that has failed, and to one that is in a circle.
 *
 * If the storage has failed, its own error has ended the start-up one turn of the event loop later,
 * and this one hides nothing. Else the root injects what needs `who`: `INVALID_OPTION`.
 */
export async function rejectUnopened(who: string, modules: ModulesContainer): Promise<never> {
  await new Promise(setImmediate);
  throw invalidOption(
    `KeyValueStorageModule.forRootAsync (${rootCallSiteIn(modules) ?? 'an unknown place'}) injects what needs ${who}, so neither can be made before the other. Inject there only what needs no storage; isKnown, resolve and mayEnter get the storage as an argument: isKnown: (tenant, storage) => storage.store(Tenants).has(tenant).`,
  );
}

function rootCallSiteIn(modules: ModulesContainer): string | undefined {
  for (const { providers } of modules.values()) {
    const place: unknown = providers.get(rootCallSiteToken)?.instance;
    if (typeof place === 'string') return place;
  }
  return undefined;
}
