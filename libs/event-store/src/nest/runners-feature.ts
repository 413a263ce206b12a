/** Runners of projections and of reactions in an application: what their modules have in common. */
import type {
  BeforeApplicationShutdown,
  DynamicModule,
  InjectionToken,
  OnApplicationBootstrap,
  Type,
} from '@nestjs/common';
import { ModuleRef, ModulesContainer } from '@nestjs/core';
import { KeyValueStorage } from '@kvent/key-value-storage';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';
import {
  onceForApplication,
  startUpCheckSymbol,
  type StartUpCheck,
} from '@kvent/key-value-storage/internal/nest';
import { EventStoreHost, presentStorage } from './event-store-host.js';
import { runnerFeaturesOf, runnersOwner, type RunnerKind } from './start-up-checks.js';

interface Runner {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Makes the runner; `instance`: of a class, once the application has started. */
type MakeRunner<D, R> = (storage: KeyValueStorage, declared: D, instance: () => object) => R;

interface RunnersModule<D, R> {
  /** Where `forFeature` was called. */
  readonly declaredAt: string;
  readonly declared: readonly D[];
  readonly indicator: Type<unknown>;
  /** Where the indicator finds them. */
  readonly runners: (modules: ModulesContainer) => Set<R>;
  readonly runnerOf: MakeRunner<D, R>;
}

export const notInstantiated = (): never => {
  throw new Error('The class is instantiated when the application starts.');
};

const inject = [{ token: KeyValueStorage, optional: true }, ModulesContainer];

/** `D`: definitions and classes, as modules and decorators name them. */
export class RunnersFeature<D extends object, R extends Runner> {
  readonly #kind: RunnerKind;
  readonly #nameOf: (declared: D) => string;
  readonly #tokenName: (name: string) => string;
  // weak, so that a token is released with its definition
  readonly #tokens = new WeakMap<object, symbol>();
  readonly #named = new WeakMap<object, { readonly name: string }>();

  /** `nameOf` throws `INVALID_OPTION` for what is no `D`. */
  constructor(kind: RunnerKind, nameOf: (declared: D) => string, tokenName: (name: string) => string) {
    this.#kind = kind;
    this.#nameOf = nameOf;
    this.#tokenName = tokenName;
  }

  /** `INVALID_OPTION` */
  tokenOf(declared: D): InjectionToken {
    const name = this.#nameOf(declared);
    let token = this.#tokens.get(declared);
    if (token === undefined) {
      // Nest prints it where a module does not import it
      token = Symbol(this.#tokenName(name));
      this.#tokens.set(declared, token);
    }
    return token;
  }

  /** What the start-up checks of a definition: the same object for the same definition. */
  #namedOf(declared: D): { readonly name: string } {
    const named = this.#named.get(declared) ?? { name: this.#nameOf(declared) };
    this.#named.set(declared, named);
    return named;
  }

  /**
   * The same runner in several modules runs once, as in the first of them. `INVALID_OPTION`, at the
   * start-up also for two definitions of one name.
   */
  moduleOf({ declaredAt, declared, indicator, runners, runnerOf }: RunnersModule<D, R>): DynamicModule {
    const owner = runnersOwner(this.#kind, declaredAt);
    const given: unknown = declared;
    if (!Array.isArray(given))
      throw invalidOption(`${owner} takes an array of ${this.#kind}s; got ${inspect(given)}.`);
    const names = declared.map((each) => this.#nameOf(each));
    const title = this.#kind === 'projection' ? 'Projections' : 'Reactions';
    const features = runnerFeaturesOf[this.#kind];
    const feature = { definitions: declared.map((each) => this.#namedOf(each)), declaredAt };
    const check: StartUpCheck = (modules, context) => features.admitAll(modules, context);
    const module = features.moduleOf(`${title}(${names.join(', ')})`, feature, {
      [startUpCheckSymbol]: check,
    });
    const tokens = declared.map((each) => this.tokenOf(each));
    const runningOf = async (
      storage: KeyValueStorage | undefined,
      modules: ModulesContainer,
      each: D,
    ): Promise<Running<R>> => {
      const present = await presentStorage(storage, modules, owner);
      features.admit(modules, feature);
      return onceForApplication(modules, this.tokenOf(each), () => {
        const running = new Running<R>(modules, module, each, (instance) =>
          runnerOf(present, each, instance),
        );
        runners(modules).add(running.runner);
        return running;
      });
    };
    return {
      module,
      imports: [EventStoreHost],
      providers: [
        indicator,
        ...declared.map((each) => ({
          provide: this.tokenOf(each),
          inject,
          useFactory: async (storage: KeyValueStorage | undefined, modules: ModulesContainer) =>
            (await runningOf(storage, modules, each)).runner,
        })),
        {
          provide: Symbol(owner),
          inject: [...inject, ...tokens],
          useFactory: async (storage: KeyValueStorage | undefined, modules: ModulesContainer) =>
            new RunningAll(
              await Promise.all(declared.map(async (each) => await runningOf(storage, modules, each))),
            ),
        },
      ],
      exports: [...tokens, indicator, EventStoreHost],
    };
  }
}

/** The runner may be injected before the class is instantiated. */
class Running<R extends Runner> {
  readonly runner: R;
  readonly #modules: ModulesContainer;
  readonly #module: Type<unknown>;
  readonly #declared: object;
  #instance: object | undefined;

  constructor(
    modules: ModulesContainer,
    module: Type<unknown>,
    declared: object,
    runnerOf: (instance: () => object) => R,
  ) {
    this.runner = runnerOf(() => this.#instance ?? notInstantiated());
    this.#modules = modules;
    this.#module = module;
    this.#declared = declared;
  }

  async start(): Promise<void> {
    if (typeof this.#declared === 'function')
      this.#instance ??= await this.#importer().create<object>(this.#declared as Type<object>);
    await this.runner.start();
  }

  /** Of the module that imports the feature: there are the dependencies of its classes. */
  #importer(): ModuleRef {
    const isImporter = ({ imports }: { readonly imports: ReadonlySet<{ readonly metatype: unknown }> }) =>
      [...imports].some(({ metatype }) => metatype === this.#module);
    const importer = [...this.#modules.values()].find(isImporter);
    return importer?.getProviderByKey<ModuleRef>(ModuleRef).instance as ModuleRef;
  }
}

class RunningAll implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #running: readonly Running<Runner>[];

  constructor(running: readonly Running<Runner>[]) {
    this.#running = running;
  }

  async onApplicationBootstrap(): Promise<void> {
    for (const each of this.#running) await each.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#running.map(async ({ runner }) => await runner.stop()));
  }
}
