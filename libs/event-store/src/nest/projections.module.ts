import {
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type InjectionToken,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { KeyValueStorage, type InjectDecorator } from '@kvent/key-value-storage';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { callSite, callSiteOf, inspect, located } from '@kvent/key-value-storage/internal';
import { namedModule, onceForApplication } from '@kvent/key-value-storage/internal/nest';
import {
  projectionDefinitionOf,
  type ProjectionDefinition,
  type ResolvedProjection,
} from '../core/projections/projection-definition.js';
import { ProjectionRunner, type ProjectionRunnerOptions } from '../core/projections/projection-runner.js';
import { EventStoreHost } from './event-store-host.js';

// weak, so that a token is released with its definition
const tokens = new WeakMap<ResolvedProjection, symbol>();

/**
 * The injection token of a projection's runner. `INVALID_OPTION` for anything that
 * `defineProjection` did not return.
 */
export function getProjectionToken(projection: ProjectionDefinition): InjectionToken {
  const resolved = projectionDefinitionOf(projection);
  let token = tokens.get(resolved);
  if (token === undefined) {
    // Nest prints it where a module does not import it
    token = Symbol(`ProjectionRunner<${resolved.name}> of ProjectionsModule.forFeature([…])`);
    tokens.set(resolved, token);
  }
  return token;
}

/**
 * Injects the runner of a projection, for `whenCaughtUp`, `health`, `lag` and `retry`. The
 * projection must be in some `ProjectionsModule.forFeature([…])` that the module imports.
 */
export function InjectProjection(projection: ProjectionDefinition): InjectDecorator<ProjectionRunner> {
  return Inject(located(callSiteOf(InjectProjection), () => getProjectionToken(projection)));
}

/**
 * Projections in Nest, on the storage of `KeyValueStorageModule.forRoot`. They begin when the
 * application has started, and end when its shutdown begins, after the batches in progress.
 */
@Module({})
export class ProjectionsModule {
  /**
   * Runs these projections. The same projection in several modules runs once. `options` are those
   * of its first module. `INVALID_OPTION`.
   */
  static forFeature(
    projections: readonly ProjectionDefinition[],
    options: ProjectionRunnerOptions = {},
  ): DynamicModule {
    const owner = `ProjectionsModule.forFeature (${callSite(ProjectionsModule.forFeature)})`;
    if (!Array.isArray(projections))
      throw invalidOption(`${owner} takes an array of projections; got ${inspect(projections)}.`);
    const definitions = projections.map(projectionDefinitionOf);
    const runners = definitions.map(getProjectionToken);
    return {
      module: namedModule(`Projections(${definitions.map(({ name }) => name).join(', ')})`, {}),
      imports: [EventStoreHost],
      providers: [
        ...definitions.map((definition) => ({
          provide: getProjectionToken(definition),
          inject: [KeyValueStorage, ModulesContainer],
          useFactory: (storage: KeyValueStorage, modules: ModulesContainer) =>
            onceForApplication(modules, definition, () => new ProjectionRunner(storage, definition, options)),
        })),
        {
          provide: Symbol(owner),
          inject: runners,
          useFactory: (...all: readonly ProjectionRunner[]) => new RunningProjections(all),
        },
      ],
      exports: runners,
    };
  }
}

class RunningProjections implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #runners: readonly ProjectionRunner[];

  constructor(runners: readonly ProjectionRunner[]) {
    this.#runners = runners;
  }

  async onApplicationBootstrap(): Promise<void> {
    for (const runner of this.#runners) await runner.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#runners.map(async (runner) => await runner.stop()));
  }
}
