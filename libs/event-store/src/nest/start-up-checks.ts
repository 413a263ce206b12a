/**
 * Finds mistakes in the modules of streams before the storage is opened, so that a failed start-up
 * leaves no file locked and no connection open.
 */
import type { ModulesContainer } from '@nestjs/core';
import {
  FeatureKind,
  assertOneRoot,
  missingRoot,
  type StartUpCheck,
} from '@kvent/key-value-storage/internal/nest';
import { invalidOption } from '@kvent/key-value-storage/provider';
import type { ResolvedStream } from '../core/definition/stream-definition.js';

/** Where `forRoot` was called. */
export const streamRootCallSiteToken = Symbol('kvent.stream-root-call-site');

const nameOf = ({ type }: ResolvedStream): string => `stream type '${type}'`;

export const streamFeatures = new FeatureKind<ResolvedStream>(
  'stream-feature',
  nameOf,
  ({ name }) => [name],
  'Give one of them another type.',
);

interface NamedRunner {
  readonly name: string;
  readonly provider?: undefined;
}

const runnerFeatures = (kind: RunnerKind) =>
  new FeatureKind<NamedRunner>(
    `${kind}-feature`,
    ({ name }) => `${kind} '${name}'`,
    ({ name }) => [name],
    'Give one of them another name.',
  );

export type RunnerKind = 'projection' | 'reaction';
/** Two definitions of one name would share their checkpoints, and each would miss events. */
export const runnerFeaturesOf: Readonly<Record<RunnerKind, FeatureKind<NamedRunner>>> = {
  projection: runnerFeatures('projection'),
  reaction: runnerFeatures('reaction'),
};

/** The call of `forFeature` that declares runners, as messages name it. */
export const runnersOwner = (kind: RunnerKind, declaredAt: string): string =>
  `${kind === 'projection' ? 'ProjectionsModule' : 'ReactionsModule'}.forFeature (${declaredAt})`;

/**
 * `INVALID_OPTION` for a second root, for a stream whose provider has no such name, and for two
 * definitions that would share their rows, naming both places.
 */
export const assertStreams: StartUpCheck = (modules, context) => {
  assertOneStreamRoot(modules);
  streamFeatures.admitAll(modules, context);
};

const rootPlacesOf = (modules: ModulesContainer): readonly string[] =>
  [...modules.values()].flatMap(({ providers }) => {
    const place: unknown = providers.get(streamRootCallSiteToken)?.instance;
    return typeof place === 'string' ? [place] : [];
  });

export function assertOneStreamRoot(modules: ModulesContainer): void {
  assertOneRoot('EventStoreModule', rootPlacesOf(modules));
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
    `EventStoreModule.forRootAsync (${rootPlacesOf(modules).join(' and ')}) is request-scoped, by what it injects or by its factory. An application has one event store: inject singletons, and put what belongs to a request into the metadata of events.`,
  );
}

/** For streams without a storage: the error names the module that needs one. */
export function noStorageError(modules: ModulesContainer) {
  const [feature] = streamFeatures.declaredIn(modules);
  if (feature !== undefined)
    return missingRoot(
      `EventStoreModule.forFeature([${feature.definitions.map(nameOf).join(', ')}]) (${feature.declaredAt})`,
      modules,
    );
  for (const kind of ['projection', 'reaction'] as const)
    for (const { declaredAt } of runnerFeaturesOf[kind].declaredIn(modules))
      return missingRoot(runnersOwner(kind, declaredAt), modules);
  return missingRoot(`EventStoreModule.forRoot (${rootPlacesOf(modules)[0] ?? 'an unknown place'})`, modules);
}
