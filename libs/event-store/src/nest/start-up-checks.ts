/**
 * Mistakes in the modules of streams. They are found before the storage is opened, so that a
 * refused start-up holds no file and no connection.
 */
import type { ModulesContainer } from '@nestjs/core';
import {
  onceForApplication,
  startUpContextOf,
  type StartUpCheck,
  type StartUpContext,
} from '@kvent/key-value-storage/internal/nest';
import { invalidOption } from '@kvent/key-value-storage/provider';
import type { ResolvedStream } from '../core/definition/stream-definition.js';

/** What one `forFeature` declared; it hangs on the module class that it answered. */
export interface StreamFeature {
  readonly streams: readonly ResolvedStream[];
  readonly declaredAt: string;
}
export const streamFeatureSymbol = Symbol.for('kvent.stream-feature');
/** Where `forRoot` was called. */
export const streamRootCallSiteToken = Symbol('kvent.stream-root-place');

/**
 * `INVALID_OPTION` for a second root, for a stream whose provider has no such name, and for two
 * definitions that would share their rows, naming both places.
 */
export const assertStreams: StartUpCheck = (modules, storage) => {
  assertOneRoot(modules);
  const features = featuresOf(modules);
  assertDefinitions(features, storage);
  for (const feature of features) admittedOf(modules).add(feature);
};

const admittedKey = Symbol('kvent.admitted-streams');

const admittedOf = (modules: ModulesContainer): Set<StreamFeature> =>
  onceForApplication(modules, admittedKey, () => new Set<StreamFeature>());

/**
 * The same for the streams of a module that is loaded when the storage is open, against those that
 * were admitted before it.
 */
export function admitStreams(modules: ModulesContainer, feature: StreamFeature): void {
  const [admitted, storage] = [admittedOf(modules), startUpContextOf(modules)];
  if (storage === undefined || admitted.has(feature)) return;
  assertDefinitions([...admitted, feature], storage);
  admitted.add(feature);
}

const featuresOf = (modules: ModulesContainer): readonly StreamFeature[] =>
  [...modules.values()].flatMap(({ metatype }) => {
    const feature = (metatype as { readonly [streamFeatureSymbol]?: StreamFeature })[streamFeatureSymbol];
    return feature === undefined ? [] : [feature];
  });

const rootPlacesOf = (modules: ModulesContainer): readonly string[] =>
  [...modules.values()].flatMap(({ providers }) => {
    const place: unknown = providers.get(streamRootCallSiteToken)?.instance;
    return typeof place === 'string' ? [place] : [];
  });

export function assertOneRoot(modules: ModulesContainer): void {
  const places = rootPlacesOf(modules);
  if (places.length > 1)
    throw invalidOption(
      `EventStoreModule.forRoot is there ${places.length} times, and may be once for each application (it is global): ${places.join(' and ')}.`,
    );
}

/**
 * `INVALID_OPTION` for options of the root that depend on a request, which Nest knows when all
 * modules are there.
 */
export function assertStaticOptions(modules: ModulesContainer, options: symbol): void {
  const roots = [...modules.values()].filter(
    ({ providers }) => providers.get(options)?.isDependencyTreeStatic() === false,
  );
  if (roots.length === 0) return;
  throw invalidOption(
    `EventStoreModule.forRootAsync (${rootPlacesOf(modules).join(' and ')}) depends on a request: what it injects, or its factory, is request-scoped. There is one event store for each application: inject singletons; what belongs to a request is for the metadata of its events.`,
  );
}

/** Streams without a storage: the error names who wants them. */
export function noStorageError(modules: ModulesContainer) {
  const [feature] = featuresOf(modules);
  const who =
    feature === undefined
      ? `EventStoreModule.forRoot (${rootPlacesOf(modules)[0] ?? 'an unknown place'})`
      : `EventStoreModule.forFeature([${feature.streams.map(nameOf).join(', ')}]) (${feature.declaredAt})`;
  return invalidOption(
    `${who} has no KeyValueStorageModule.forRoot: import it once, in the module of the application.`,
  );
}

function assertDefinitions(
  features: readonly StreamFeature[],
  { providers, oneEngine, scope }: StartUpContext,
): void {
  const seen = new Map<string, { readonly stream: ResolvedStream; readonly place: string }>();
  for (const { streams, declaredAt: place } of features) {
    for (const stream of streams) {
      assertProviderName(stream, place, providers);
      const engine =
        stream.provider === undefined || oneEngine.includes(stream.provider) ? '' : stream.provider;
      const rows = JSON.stringify([engine, stream.scope ?? scope, stream.name]);
      const other = seen.get(rows);
      seen.set(rows, { stream, place });
      if (other === undefined || other.stream === stream) continue;
      throw invalidOption(
        `Two definitions of the ${nameOf(stream)} would share their rows: forFeature at ${other.place} and forFeature at ${place}. Give one of them another type.`,
      );
    }
  }
}

function assertProviderName(stream: ResolvedStream, place: string, providers: readonly string[]): void {
  if (stream.provider === undefined || providers.includes(stream.provider)) return;
  const known =
    providers.length === 0
      ? 'forRoot names none'
      : `forRoot has ${providers.map((name) => `'${name}'`).join(', ')}`;
  throw invalidOption(
    `The ${nameOf(stream)} (forFeature at ${place}) wants the provider '${stream.provider}'; ${known} in its providers.`,
  );
}

const nameOf = ({ type }: ResolvedStream): string => `stream type '${type}'`;
