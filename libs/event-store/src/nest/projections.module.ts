import {
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type InjectionToken,
  type OnApplicationBootstrap,
  type Type,
} from '@nestjs/common';
import { ModuleRef, ModulesContainer } from '@nestjs/core';
import { KeyValueStorage, type InjectDecorator } from '@kvent/key-value-storage';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { callSiteOf, inspect, located } from '@kvent/key-value-storage/internal';
import { namedModule, onceForApplication } from '@kvent/key-value-storage/internal/nest';
import {
  boundProjection,
  isProjectionClass,
  type ProjectionClass,
} from '../core/projections/projection-class.js';
import {
  projectionDefinitionOf,
  type ProjectionDefinition,
  type ResolvedProjection,
} from '../core/projections/projection-definition.js';
import { ProjectionRunner, type ProjectionRunnerOptions } from '../core/projections/projection-runner.js';
import { EventStoreHost } from './event-store-host.js';
import { ProjectionsHealthIndicator, runnersOf } from './projections-health.indicator.js';

/** A projection as modules and decorators name it. */
type AnyProjection = ProjectionDefinition | ProjectionClass;

// weak, so that a token is released with its definition
const tokens = new WeakMap<object, symbol>();

/**
 * The injection token of a projection's runner. `INVALID_OPTION` for anything that
 * `defineProjection` did not return, and for a class without `@Projection`.
 */
export function getProjectionToken(projection: AnyProjection): InjectionToken {
  const { name } = resolved(projection, notInstantiated);
  let token = tokens.get(projection);
  if (token === undefined) {
    // Nest prints it where a module does not import it
    token = Symbol(`ProjectionRunner<${name}> of ProjectionsModule.forFeature([…])`);
    tokens.set(projection, token);
  }
  return token;
}

/**
 * Injects the runner of a projection, for `whenCaughtUp`, `health`, `lag` and `retry`. The
 * projection must be in some `ProjectionsModule.forFeature([…])` that the module imports.
 */
export function InjectProjection(projection: AnyProjection): InjectDecorator<ProjectionRunner> {
  return Inject(located(callSiteOf(InjectProjection), () => getProjectionToken(projection)));
}

/**
 * Projections in Nest, on the storage of `KeyValueStorageModule.forRoot`. They begin when the
 * application has started, and end when its shutdown begins, after the batches in progress.
 */
@Module({})
export class ProjectionsModule {
  /**
   * Runs these projections. Classes are instantiated with what the importing module can inject. The
   * same projection in several modules runs once, with the options of its first module.
   * `INVALID_OPTION`.
   */
  static forFeature(
    projections: readonly AnyProjection[],
    options: ProjectionRunnerOptions = {},
  ): DynamicModule {
    const place = callSiteOf(ProjectionsModule.forFeature);
    const owner = `ProjectionsModule.forFeature (${place()})`;
    const given: unknown = projections;
    if (!Array.isArray(given))
      throw invalidOption(`${owner} takes an array of projections; got ${inspect(given)}.`);
    const names = located(place, () => projections.map((each) => resolved(each, notInstantiated).name));
    const module = namedModule(`Projections(${names.join(', ')})`, {});
    const runners = projections.map(getProjectionToken);
    return {
      module,
      imports: [EventStoreHost],
      providers: [
        ProjectionsHealthIndicator,
        ...projections.map((projection) => ({
          provide: getProjectionToken(projection),
          inject: [KeyValueStorage, ModulesContainer],
          useFactory: (storage: KeyValueStorage, modules: ModulesContainer) =>
            runningOf(storage, modules, { projection, module, options }).runner,
        })),
        {
          provide: Symbol(owner),
          inject: [KeyValueStorage, ModulesContainer, ...runners],
          useFactory: (storage: KeyValueStorage, modules: ModulesContainer) =>
            new RunningProjections(
              projections.map((projection) => runningOf(storage, modules, { projection, module, options })),
            ),
        },
      ],
      exports: [...runners, ProjectionsHealthIndicator],
    };
  }
}

const notInstantiated = (): never => {
  throw new Error('The class of a projection is instantiated when the application starts.');
};

/** `INVALID_OPTION`. */
const resolved = (projection: AnyProjection, instance: () => object): ResolvedProjection =>
  isProjectionClass(projection) ? boundProjection(projection, instance) : projectionDefinitionOf(projection);

interface ProjectionFeature {
  readonly projection: AnyProjection;
  readonly module: Type<unknown>;
  readonly options: ProjectionRunnerOptions;
}

function runningOf(
  storage: KeyValueStorage,
  modules: ModulesContainer,
  feature: ProjectionFeature,
): RunningProjection {
  return onceForApplication(
    modules,
    getProjectionToken(feature.projection),
    () => new RunningProjection(storage, modules, feature),
  );
}

/** The runner may be injected before the class is instantiated. */
class RunningProjection {
  readonly runner: ProjectionRunner;
  readonly #modules: ModulesContainer;
  readonly #feature: ProjectionFeature;
  #instance: object | undefined;

  constructor(storage: KeyValueStorage, modules: ModulesContainer, feature: ProjectionFeature) {
    const instance = () => this.#instance ?? notInstantiated();
    this.runner = new ProjectionRunner(storage, resolved(feature.projection, instance), feature.options);
    runnersOf(modules).add(this.runner);
    this.#modules = modules;
    this.#feature = feature;
  }

  async start(): Promise<void> {
    const { projection } = this.#feature;
    if (isProjectionClass(projection))
      this.#instance ??= await this.#importer().create<object>(projection as unknown as Type<object>);
    await this.runner.start();
  }

  /** Of the module that imports the projection: there are its stores. */
  #importer(): ModuleRef {
    const { module } = this.#feature;
    const isImporter = ({ imports }: { readonly imports: ReadonlySet<{ readonly metatype: unknown }> }) =>
      [...imports].some(({ metatype }) => metatype === module);
    const importer = [...this.#modules.values()].find(isImporter);
    return importer?.getProviderByKey<ModuleRef>(ModuleRef).instance as ModuleRef;
  }
}

class RunningProjections implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #running: readonly RunningProjection[];

  constructor(running: readonly RunningProjection[]) {
    this.#running = running;
  }

  async onApplicationBootstrap(): Promise<void> {
    for (const each of this.#running) await each.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#running.map(async ({ runner }) => await runner.stop()));
  }
}
