/**
 * Each mistake that stops the start-up or a first call: its message names the line of the
 * application, says what to write, and leads to a page. The page of mistakes has the messages:
 * `KVENT_DOCS=write npm run jest -- test/e2e/wiring-mistakes` writes it.
 */
import 'reflect-metadata';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable, Module, type DynamicModule, type InjectionToken, type Type } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  defineProjection,
  defineReaction,
  defineStream,
  event,
  EventBusBridgeModule,
  EventStoreModule,
  EventStream,
  getProjectionToken,
  getStreamToken,
  InjectStream,
  On,
  Projection,
  ProjectionsModule,
  ReactionsModule,
  streamOf,
} from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  CounterStore,
  defineCounter,
  defineState,
  getStoreToken,
  InjectStore,
  isStorageError,
  KeyValueStorage,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  State,
  storeOf,
} from '@kvent/key-value-storage';
import * as Core from '@kvent/key-value-storage/core';
import { DataSource } from 'typeorm';

@State('product')
class Product {
  title!: string;
}
class Forgotten {
  title!: string;
}
const otherOrders = () =>
  defineStream('order', { events: { placed: event() }, initial: () => 0, evolve: (count) => count + 1 });
const Orders = otherOrders();
const Views = defineCounter('views');
const Slots = defineState('slot', { indexes: { byDay: () => 'monday' } });
const totals = () =>
  defineProjection('totals', {
    streams: [Orders],
    into: Slots,
    key: () => 'all',
    initial: () => 0,
    evolve: () => 0,
  });
const mails = () => defineReaction('mails', { streams: [Orders], on: { placed: () => undefined } });
const nothing = undefined as never;
const memory = () => new MemoryProvider();
const one = new MemoryProvider();
const dataSource = new DataSource({ type: 'postgres' });
const root = () => KeyValueStorageModule.forRoot({ provider: memory });
const features = () => KeyValueStorageModule.forFeature([Product, Views, Slots]);
const batchOf = async (app: { get: (token: typeof KeyValueStorage) => KeyValueStorage }) =>
  await Promise.resolve(app.get(KeyValueStorage).atomic());

jest.unstable_mockModule('@nestjs-cls/transactional', () => {
  throw new Error("Cannot find package '@nestjs-cls/transactional'.");
});
/** The class of the root differs in another copy of the package. */
const rootOfOtherCopy = {
  module: Forgotten,
  providers: [{ provide: Symbol.for('kvent.root-call-site'), useValue: 'src/app.module.ts:9' }],
};

/** Its options inject a service, which injects `token` of `feature`. */
const rootThatInjects = (feature: DynamicModule, token: InjectionToken): DynamicModule => {
  const service = { provide: 'service', inject: [token], useFactory: (injected: unknown) => ({ injected }) };
  return KeyValueStorageModule.forRootAsync({
    imports: [{ module: Forgotten, imports: [feature], providers: [service], exports: ['service'] }],
    inject: ['service'],
    useFactory: () => ({ provider: memory }),
  });
};

const started: { readonly close: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const app of started.splice(0)) await app.close();
});
async function start(...imports: (DynamicModule | Type<unknown>)[]) {
  const app = await Test.createTestingModule({ imports }).compile();
  started.push(app);
  return await app.init();
}

interface Row {
  readonly mistake: string;
  /** The part of the message that says what to write, or what is allowed. */
  readonly remedy: string;
  readonly make: () => unknown;
  /** Its message is sent to clients, so the line is in `error.stack` alone. */
  readonly code?: 'TENANT_MISSING';
}
const startRows: readonly Row[] = [
  {
    mistake: 'A module imports `KeyValueStorageModule.forFeature`, and no module imports `forRoot`.',
    remedy: 'has no KeyValueStorageModule.forRoot: import it once',
    make: () => start(KeyValueStorageModule.forFeature([Product])),
  },
  {
    mistake: 'A module imports `EventStoreModule.forFeature`, and there is no storage.',
    remedy: 'has no KeyValueStorageModule.forRoot: import it once',
    make: () => start(EventStoreModule.forFeature([Orders])),
  },
  {
    mistake: 'A module imports `ProjectionsModule.forFeature`, and there is no storage.',
    remedy: 'has no KeyValueStorageModule.forRoot: import it once',
    make: () => start(ProjectionsModule.forFeature([totals()])),
  },
  {
    mistake: 'A module imports `ReactionsModule.forFeature`, and there is no storage.',
    remedy: 'has no KeyValueStorageModule.forRoot: import it once',
    make: () => start(ReactionsModule.forFeature([mails()])),
  },
  {
    mistake: 'The application has two copies of the package: one has `forRoot`, the other `forFeature`.',
    remedy: 'Install one version (`npm ls @kvent/key-value-storage`)',
    make: () => start(rootOfOtherCopy, KeyValueStorageModule.forFeature([Product])),
  },
  {
    mistake: '`KeyValueStorageModule.forRoot` is imported twice.',
    remedy: 'import it once in an application',
    make: () => start(root(), KeyValueStorageModule.forRoot({ provider: memory })),
  },
  {
    mistake: '`EventStoreModule.forRoot` is imported twice.',
    remedy: 'import it once in an application',
    make: () => start(root(), EventStoreModule.forRoot({}), EventStoreModule.forRoot({})),
  },
  {
    mistake: '`forRoot` has no options.',
    remedy: '{ provider: () => new …() }',
    make: () => KeyValueStorageModule.forRoot(nothing),
  },
  {
    mistake: '`provider` is missing.',
    remedy: 'provider must be a storage provider, or a function that returns one',
    make: () => start(KeyValueStorageModule.forRoot({ provider: nothing })),
  },
  {
    mistake: '`provider` is the name of a storage.',
    remedy: 'provider must be a storage provider, or a function that returns one',
    make: () => start(KeyValueStorageModule.forRoot({ provider: 'memory' as never })),
  },
  {
    mistake: '`provider` is a class, not an instance.',
    remedy: '() => new MemoryProvider(…)',
    make: () => start(KeyValueStorageModule.forRoot({ provider: MemoryProvider as never })),
  },
  {
    mistake: 'The function `provider` returns nothing.',
    remedy: 'must return a storage provider',
    make: () => start(KeyValueStorageModule.forRoot({ provider: () => nothing })),
  },
  {
    mistake: 'An option of `forRoot` is misspelt.',
    remedy: "Did you mean 'provider'?",
    make: () => start(KeyValueStorageModule.forRoot({ providre: memory } as never)),
  },
  {
    mistake: 'An option of `forRoot` has a wrong type.',
    remedy: 'tenancy: options must be an object',
    make: () => start(KeyValueStorageModule.forRoot({ provider: memory, tenancy: true as never })),
  },
  {
    mistake: 'An option of `forRoot` is out of its range.',
    remedy: 'attempts must be a whole number from 1',
    make: () => start(KeyValueStorageModule.forRoot({ provider: memory, retry: { attempts: 0 } })),
  },
  {
    mistake: 'One provider instance has two names.',
    remedy: 'give each name another instance',
    make: () => start(KeyValueStorageModule.forRoot({ provider: one, providers: { cache: one } })),
  },
  {
    mistake: 'The factory of `forRootAsync` returns nothing.',
    remedy: 'useFactory must return options: { provider: () => new …() }',
    make: () => start(KeyValueStorageModule.forRootAsync({ useFactory: () => nothing })),
  },
  {
    mistake: '`forRootAsync` has no factory.',
    remedy: 'useFactory: (…) => ({ provider: … })',
    make: () => KeyValueStorageModule.forRootAsync({}),
  },
  {
    mistake: '`forRootAsync` injects something request-scoped.',
    remedy: 'inject singletons',
    make: () =>
      start(
        KeyValueStorageModule.forRootAsync({ inject: [REQUEST], useFactory: () => ({ provider: memory }) }),
      ),
  },
  {
    mistake: '`forRootAsync` injects a service that injects a store.',
    remedy: 'isKnown: (tenant, storage) => storage.store(Tenants).has(tenant)',
    make: () => start(rootThatInjects(KeyValueStorageModule.forFeature([Product]), getStoreToken(Product))),
  },
  {
    mistake: '`forRootAsync` injects a service that injects a stream.',
    remedy: 'Inject there only what needs no storage',
    make: () => start(rootThatInjects(EventStoreModule.forFeature([Orders]), getStreamToken(Orders))),
  },
  {
    mistake: '`forRootAsync` injects a service that injects the runner of a projection.',
    remedy: 'Inject there only what needs no storage',
    make: () => {
      const sales = totals();
      return start(rootThatInjects(ProjectionsModule.forFeature([sales]), getProjectionToken(sales)));
    },
  },
  {
    mistake: 'The factory of `EventStoreModule.forRootAsync` returns nothing.',
    remedy: 'needs options: {}',
    make: () => start(root(), EventStoreModule.forRootAsync({ useFactory: () => nothing })),
  },
  {
    mistake: '`EventStoreModule.forRootAsync` has no factory.',
    remedy: 'needs useFactory: (…) => ({ … })',
    make: () => EventStoreModule.forRootAsync(nothing),
  },
  {
    mistake: 'An option of `EventStoreModule.forRoot` is misspelt.',
    remedy: "Did you mean 'metadata'?",
    make: () => EventStoreModule.forRoot({ metdata: () => ({}) } as never),
  },
  {
    mistake: '`new PostgresProvider` has no address.',
    remedy: 'needs a dataSource, a url, or a host',
    make: () =>
      start(KeyValueStorageModule.forRoot({ provider: () => new PostgresProvider({ url: undefined }) })),
  },
  {
    mistake: 'The data source of `PostgresProvider` is not initialised.',
    remedy: 'initialise it before the storage opens',
    make: () =>
      start(KeyValueStorageModule.forRoot({ provider: () => new PostgresProvider({ dataSource }) })),
  },
  {
    mistake: 'The data source of `PostgresProvider` is of another database.',
    remedy: "new DataSource({ type: 'postgres', … })",
    make: () => {
      const mysql = { options: { type: 'mysql' } } as never;
      return start(
        KeyValueStorageModule.forRoot({ provider: () => new PostgresProvider({ dataSource: mysql }) }),
      );
    },
  },
  {
    mistake: "`transactions: 'ambient'` without a library of ambient transactions.",
    remedy: 'Install @nestjs-cls/transactional and @nestjs-cls/transactional-adapter-typeorm',
    make: () => {
      const provider = () => new PostgresProvider({ dataSource, transactions: 'ambient' });
      return start(KeyValueStorageModule.forRoot({ provider }));
    },
  },
  {
    mistake: '`forFeature` gets a class, not a list.',
    remedy: 'forFeature([…])',
    make: () => KeyValueStorageModule.forFeature(Product as never),
  },
  {
    mistake: '`EventStoreModule.forFeature` gets a definition, not a list.',
    remedy: 'forFeature([…])',
    make: () => EventStoreModule.forFeature(Orders as never),
  },
  {
    mistake: 'A class in `forFeature` has no `@State`.',
    remedy: 'has no @State; declare it, or use defineState',
    make: () => KeyValueStorageModule.forFeature([Forgotten]),
  },
  {
    mistake: '`@InjectStore` names a class without `@State`.',
    remedy: 'has no @State; declare it, or use defineState',
    make: () => InjectStore(Forgotten),
  },
  {
    mistake: 'Two files import each other, so that a state in `forFeature` is undefined.',
    remedy: 'move the state into a file of its own',
    make: () => KeyValueStorageModule.forFeature([nothing]),
  },
  {
    mistake: 'Two files import each other, so that the state of `@InjectStore` is undefined.',
    remedy: 'move the state into a file of its own',
    make: () => InjectStore(nothing),
  },
  {
    mistake: 'Two files import each other, so that a stream in `forFeature` is undefined.',
    remedy: 'move the definition into a file of its own',
    make: () => EventStoreModule.forFeature([nothing]),
  },
  {
    mistake: 'Two files import each other, so that the stream of `@InjectStream` is undefined.',
    remedy: 'move the definition into a file of its own',
    make: () => InjectStream(nothing),
  },
  {
    mistake: 'A stream is in the `forFeature` of states.',
    remedy: 'use EventStoreModule.forFeature and @InjectStream',
    make: () => KeyValueStorageModule.forFeature([Orders as never]),
  },
  {
    mistake: 'A state is in the `forFeature` of streams.',
    remedy: 'use KeyValueStorageModule.forFeature and @InjectStore',
    make: () => EventStoreModule.forFeature([Product as never]),
  },
  {
    mistake: '`@InjectStore` names a stream.',
    remedy: 'use EventStoreModule.forFeature and @InjectStream',
    make: () => InjectStore(Orders as never),
  },
  {
    mistake: '`@InjectStream` names a state.',
    remedy: 'use KeyValueStorageModule.forFeature and @InjectStore',
    make: () => InjectStream(Product as never),
  },
  {
    mistake: '`@InjectStream` names a counter.',
    remedy: 'use KeyValueStorageModule.forFeature and @InjectStore',
    make: () => InjectStream(Views as never),
  },
  {
    mistake: '`@InjectStore` names a counter, and the parameter is a `KeyValueStore`.',
    remedy: 'declare it as CounterStore',
    make: () => {
      const InjectViews: ParameterDecorator = InjectStore(Views);
      class Pages {
        constructor(@InjectViews readonly views: KeyValueStore<number>) {}
      }
      return Pages;
    },
  },
  {
    mistake: '`@InjectStore` names a state, and the property is a `CounterStore`.',
    remedy: 'declare it as KeyValueStore',
    make: () => {
      const InjectProducts: PropertyDecorator = InjectStore(Product) as never;
      class Pages {
        @InjectProducts readonly products!: CounterStore;
      }
      return Pages;
    },
  },
  {
    mistake: 'Two states have one name.',
    remedy: 'Rename one, or give it another container',
    make: () =>
      start(
        root(),
        KeyValueStorageModule.forFeature([Product]),
        KeyValueStorageModule.forFeature([defineState('product')]),
      ),
  },
  {
    mistake: 'Two definitions have one stream type.',
    remedy: 'Give one of them another type',
    make: () =>
      start(root(), EventStoreModule.forFeature([Orders]), EventStoreModule.forFeature([otherOrders()])),
  },
  {
    mistake: 'Two projections have one name.',
    remedy: 'Give one of them another name',
    make: () =>
      start(root(), ProjectionsModule.forFeature([totals()]), ProjectionsModule.forFeature([totals()])),
  },
  {
    mistake: 'Two reactions have one name.',
    remedy: 'Give one of them another name',
    make: () => start(root(), ReactionsModule.forFeature([mails()]), ReactionsModule.forFeature([mails()])),
  },
  {
    mistake: 'A state names a provider that `forRoot` does not have.',
    remedy: "Did you mean 'cache'?",
    make: () =>
      start(
        KeyValueStorageModule.forRoot({ provider: memory, providers: { cache: memory } }),
        KeyValueStorageModule.forFeature([defineState('session', { provider: 'cahce' })]),
      ),
  },
  {
    mistake: '`storeOf` names a state of no module.',
    remedy: 'must import KeyValueStorageModule.forFeature([…]) with it',
    make: () => start(root()).then((app) => storeOf(app, Product)),
  },
  {
    mistake: '`streamOf` names a stream of no module.',
    remedy: 'must import EventStoreModule.forFeature([…]) with it',
    make: () => start(root()).then((app) => streamOf(app, Orders)),
  },
  {
    mistake: '`@State` is written without its call.',
    remedy: "@State('product')",
    make: () => (State as never as (target: object) => void)(Forgotten),
  },
  {
    mistake: 'The name of a state is blank.',
    remedy: 'must be a text that is not blank',
    make: () => State('')(Forgotten),
  },
  {
    mistake: 'An option of `@State` is misspelt.',
    remedy: "Did you mean 'ttlMs'?",
    make: () => State('cart', { ttlMS: 5 } as never)(Forgotten),
  },
  {
    mistake: 'The `ttlMs` of a state is 0.',
    remedy: 'ttlMs must be a whole number of milliseconds from 1',
    make: () => State('cart', { ttlMs: 0 })(Forgotten),
  },
  {
    mistake: '`schemaVersion` was increased without an `upcast`.',
    remedy: 'needs a function upcast for version 1',
    make: () => State('cart', { schemaVersion: 2 })(Forgotten),
  },
  {
    mistake: 'An option of `defineState` is misspelt.',
    remedy: "Did you mean 'scope'?",
    make: () => defineState('cart', { scop: 'shared' } as never),
  },
  {
    mistake: 'An index of a state is no function.',
    remedy: 'must be a function, or an object with key',
    make: () => defineState('slot', { indexes: { byDay: 'day' as never } }),
  },
  {
    mistake: 'A stream has no `evolve`.',
    remedy: 'evolve must be a function',
    make: () => defineStream('order', { events: { placed: event() }, initial: () => 0 } as never),
  },
  {
    mistake: 'An event of a stream is a plain object.',
    remedy: 'must be event(…) or a Standard Schema',
    make: () => defineStream('order', { events: { placed: {} }, initial: () => 0, evolve: () => 0 }),
  },
  {
    mistake: 'The `schemaVersion` of an event was increased without an `upcast`.',
    remedy: 'needs a function upcast for version 1',
    make: () => event(undefined as never, { schemaVersion: 2 } as never),
  },
  {
    mistake: 'The bridge to an `EventBus` maps an unknown event.',
    remedy: "Did you mean 'placed'?",
    make: () => EventBusBridgeModule.forFeature(Orders, { palced: () => ({}) } as never),
  },
  {
    mistake: 'A class in `ProjectionsModule.forFeature` has no `@Projection`.',
    remedy: "declare it: @Projection('sales-by-day', { streams: [Orders] })",
    make: () => ProjectionsModule.forFeature([Forgotten]),
  },
  {
    mistake: 'A class in `ReactionsModule.forFeature` has no `@Reaction`.',
    remedy: "declare it: @Reaction('mail-on-placed', { streams: [Orders] })",
    make: () => ReactionsModule.forFeature([Forgotten]),
  },
  {
    mistake: '`@On` names an unknown event.',
    remedy: 'it has placed',
    make: () => On(Orders, 'palced' as 'placed')(Forgotten.prototype, 'placed', {}),
  },
  {
    mistake: 'A class with `@Projection` has no handler.',
    remedy: "write @On(stream, 'event type') on a method",
    make: () => Projection('sales', { streams: [Orders] })(Forgotten),
  },
  {
    mistake: '`@On` is of a stream that is not in `streams`.',
    remedy: 'Add it to streams',
    make: () => {
      class Sales extends Forgotten {}
      On(Orders, 'placed')(Sales.prototype, 'placed', {});
      Projection('sales', { streams: [otherOrders()] })(Sales);
    },
  },
  {
    mistake: 'The bridge has no `CqrsModule`.',
    remedy: 'import CqrsModule.forRoot() once',
    make: () =>
      start(
        root(),
        EventStoreModule.forFeature([Orders]),
        EventBusBridgeModule.forFeature(Orders, { placed: () => ({}) }),
      ),
  },
];

const callRows: readonly Row[] = [
  {
    mistake: 'A request uses the store of a tenant, and its route has no `TenantMiddleware`.',
    remedy: 'apply TenantMiddleware to its route',
    code: 'TENANT_MISSING',
    make: () =>
      start(
        KeyValueStorageModule.forRoot({ provider: memory, tenancy: { isKnown: () => true } }),
        features(),
      ).then((app) => storeOf(app, Product).get('mug')),
  },
  {
    mistake: 'The name of an index is misspelt.',
    remedy: "Did you mean 'byDay'?",
    make: () => start(root(), features()).then((app) => storeOf(app, Slots).index('byDya' as never)),
  },
  {
    mistake: 'A batch sets a counter.',
    remedy: 'use increment, decrement, raiseTo or lowerTo',
    make: async () => {
      const app = await start(root(), features());
      (await batchOf(app)).set(storeOf(app, Views) as never, 'mug', 1);
    },
  },
  {
    mistake: 'A batch increments a state.',
    remedy: 'use set, add or replace',
    make: async () => {
      const app = await start(root(), features());
      (await batchOf(app)).increment(storeOf(app, Product) as never, 'mug');
    },
  },
  {
    mistake: 'A batch takes a definition in place of a store.',
    remedy: 'pass its store, storage.store(…)',
    make: () => start(root()).then(async (app) => (await batchOf(app)).increment(Views as never, 'mug')),
  },
  {
    mistake: 'A counter is set, as if it were a state.',
    remedy: 'use increment, decrement, raiseTo or lowerTo, or declare it with defineState',
    make: () =>
      start(root(), features()).then((app) =>
        (storeOf(app, Views) as unknown as KeyValueStore<number>).set('mug', 1),
      ),
  },
  {
    mistake: 'A state is incremented, as if it were a counter.',
    remedy: 'use set, add or replace, or declare it with defineCounter',
    make: () =>
      start(root(), features()).then((app) =>
        (storeOf(app, Product) as unknown as CounterStore).increment('mug'),
      ),
  },
  {
    mistake: 'A batch takes a store of another copy of the package.',
    remedy: 'Install one version (`npm ls @kvent/key-value-storage`)',
    make: async () => {
      const copy = await otherCopy();
      await using storage = await copy.openStorage(new copy.MemoryProvider());
      const app = await start(root());
      (await batchOf(app)).set(storage.store(Product) as never, 'mug', { title: 'Mug' });
    },
  },
];

/** The door without Nest: it loads no second Nest. */
async function otherCopy(): Promise<typeof Core> {
  let copy = Core;
  await jest.isolateModulesAsync(async () => {
    copy = await import('@kvent/key-value-storage/core');
  });
  return copy;
}

const here = import.meta.filename;
const rootFolder = join(import.meta.dirname, '..', '..');
const sourceLines = readFileSync(here, 'utf8').split('\n');
const place = /[\w./-]*wiring-mistakes\.spec\.ts:(\d+)/g;
const calls =
  /forRoot|forRootAsync|forFeature|InjectStore|InjectStream|State|On|Projection|defineStream|event|storeOf|streamOf|batchOf/;
const tables: readonly (readonly [name: string, rows: readonly Row[], messages: string[]])[] = [
  ['Mistakes at the start', startRows, []],
  ['Mistakes in calls', callRows, []],
];

describe.each(tables)('%s', (_, rows, messages) => {
  it.each(rows)('$mistake', async ({ mistake, remedy, make, code }) => {
    const error = await refusalOf(make);
    if (!isStorageError(error, code ?? 'INVALID_OPTION')) throw error;
    const places = code === undefined ? error.message : (error.stack?.match(place)?.[0] ?? '');
    const lines = Array.from(places.matchAll(place), ([, line]) => Number(line));
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(sourceLines[line - 1]).toMatch(calls);
    expect(error.message).toContain(remedy);
    const [, page = '', anchor = ''] = /\/blob\/main\/(docs\/[\w/-]+\.md)#(\w+)$/.exec(error.help) ?? [];
    expect(readFileSync(join(rootFolder, page), 'utf8').toLowerCase()).toContain(`\n## ${anchor}\n`);
    // the options are on their own page
    const shown = error.message
      .replace(place, 'src/app.module.ts:9')
      .replace(/(it takes) [\w, ]+\./, '$1 ….');
    messages.push(`| ${mistake} | ${shown} |`);
  });
});

it('a module does not import the feature: the error of Nest names it', async () => {
  @Injectable()
  class Catalog {
    constructor(@InjectStore(Product) readonly products: KeyValueStore<Product>) {}
  }
  @Module({ providers: [Catalog] })
  class CatalogModule {}
  await expect(start(root(), CatalogModule)).rejects.toThrow(
    /of the Catalog .*KeyValueStore<product> of KeyValueStorageModule\.forFeature\(\[…\]\).* in the CatalogModule/,
  );
  @Injectable()
  class Sales {
    constructor(@InjectStream(Orders) readonly orders: EventStream<typeof Orders>) {}
  }
  @Module({ providers: [Sales] })
  class SalesModule {}
  await expect(start(root(), SalesModule)).rejects.toThrow(
    /of the Sales .*EventStream<order> of EventStoreModule\.forFeature\(\[…\]\).* in the SalesModule/,
  );
});

const page = join(rootFolder, 'docs/reference/wiring-mistakes.md');
const head = '| Mistake | Message |\n|---|---|\n';

it('the page of mistakes has every message', () => {
  const [first = '', ...parts] = readFileSync(page, 'utf8').split(head);
  const written = parts.map((part) => part.slice(0, part.indexOf('\n\n')));
  const current = tables.map(([, , messages]) => messages.join('\n'));
  if (process.env['KVENT_DOCS'] !== 'write')
    return expect(written.join('\n').split('\n')).toEqual(current.join('\n').split('\n'));
  const rests = parts.map((part, index) => `${current[index]}${part.slice(part.indexOf('\n\n'))}`);
  writeFileSync(page, [first, ...rests].join(head));
});

async function refusalOf(make: () => unknown): Promise<unknown> {
  try {
    await make();
  } catch (error) {
    return error;
  }
  throw new Error('It was accepted.');
}
