/**
 * The one list every suite runs over: each provider and each wrapper. A new provider needs one
 * entry here, and has proven itself when `npm run contract -- <its name>` is green.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CoalescingProvider } from '@kvent/key-value-storage/provider';
import { JsonFileProvider, MemoryProvider, ObservedProvider } from '@kvent/key-value-storage';
import type { Capability, ProviderUnderTest } from '@kvent/key-value-storage/testing';
import { DocumentProvider } from './contract/document-provider.js';
import { MapEngine } from './contract/map-engine.js';
import { workerDatabase } from './postgres/databases.js';
import { eachCallWithin } from './postgres/each-call-within.js';
import { plainTables, securedTables } from './postgres/tables.js';
import { PostgresProvider } from '@kvent/key-value-postgres';

export interface ListedProvider extends ProviderUnderTest {
  /** What `npm run contract -- <name>` and KVENT_PROVIDER call it. */
  readonly name: string;
  /** What it does not claim: its clauses are left out, and a test holds that these are all. */
  readonly lacks: readonly Capability[];
  /** What has to run for it. */
  readonly server?: 'postgres';
  /**
   * The clauses of stores are left out: the clauses of the port cover the code that differs from
   * another provider of this list, and the stores are the same above both.
   */
  readonly portOnly?: true;
}
type Created = Awaited<ReturnType<ListedProvider['create']>>;

const memory: ListedProvider = {
  name: 'memory',
  lacks: [
    'durable',
    'durable, clock',
    'shared',
    'damage',
    'transactions',
    'feed, durable',
    'feed, shared',
    'feed, transactions',
    'reads in scans',
    'no feed',
  ],
  create: ({ clock }) => new MemoryProvider({ clock }),
};

const jsonFiles = join(tmpdir(), `kvent-contract-${process.pid}`);
const jsonFile: ListedProvider = {
  name: 'json-file',
  lacks: ['shared', 'transactions', 'feed, shared', 'feed, transactions', 'reads in scans', 'no feed'],
  create: ({ clock, location }) => new JsonFileProvider({ directory: join(jsonFiles, location), clock }),
  // the parent too, once it is empty
  dispose: (location) => {
    rmSync(join(jsonFiles, location), { recursive: true, force: true });
    if (existsSync(jsonFiles) && readdirSync(jsonFiles).length === 0) rmSync(jsonFiles, { recursive: true });
  },
  damage: (location) => spoilFiles(join(jsonFiles, location)),
};

/** The sample of the guide 'Write your own provider'. */
const engines = new Map<string, MapEngine>();
const documents: ListedProvider = {
  name: 'documents',
  lacks: [
    'count, clock',
    'hints',
    'hints, one process',
    'transactions',
    'feed',
    'feed, hints, one process',
    'feed, durable',
    'feed, shared',
    'feed, transactions',
    'reads in scans',
  ],
  create: ({ clock, location }) => new DocumentProvider({ engine: engineOf(location), clock }),
  dispose: (location) => void engines.delete(location),
  damage: (location) => engineOf(location).damage(),
};

function engineOf(location: string): MapEngine {
  const engine = engines.get(location) ?? new MapEngine();
  engines.set(location, engine);
  return engine;
}

/** A busy machine may keep ten connections busy for longer than the default of five seconds. */
const acquireTimeoutMs = 120_000;

/** On the application's own data source. */
const postgres: ListedProvider = {
  name: 'postgres',
  server: 'postgres',
  lacks: ['hints, one process', 'feed, hints, one process', 'no within', 'no feed'],
  create: async ({ clock, location }) =>
    new PostgresProvider({ ...(await plainTables.get(location)), acquireTimeoutMs, clock }),
  transaction: () => plainTables.begin(),
  dispose: (location) => plainTables.dispose(location),
  damage: (location) => plainTables.damage(location),
};

/**
 * On a pool of its own, by the clock of the server: as `new PostgresProvider({ url })` runs in
 * production.
 */
const { transaction: _, ...tables } = postgres;
const postgresByUrl: ListedProvider = {
  ...tables,
  name: 'postgres-by-url',
  lacks: [
    'count, clock',
    'clock',
    'durable, clock',
    'exact expiry',
    'hints, one process',
    'feed, hints, one process',
    'no within',
    'transactions',
    'feed, transactions',
    'no feed',
  ],
  create: async ({ location }) => {
    const { schema, table, migrate } = await plainTables.get(location);
    return new PostgresProvider({
      url: await workerDatabase(),
      schema,
      table,
      migrate,
      poolSize: 6,
      acquireTimeoutMs,
    });
  },
};

/** Under row-level security, on a data source whose role cannot bypass it. */
const postgresSecured: ListedProvider = {
  ...postgres,
  name: 'postgres-row-level-security',
  create: async ({ clock, location }) =>
    new PostgresProvider({
      ...(await securedTables.get(location)),
      rowLevelSecurity: true,
      acquireTimeoutMs,
      clock,
    }),
  transaction: () => securedTables.begin(),
  dispose: (location) => securedTables.dispose(location),
  damage: (location) => securedTables.damage(location),
};

const all: readonly ListedProvider[] = [
  memory,
  wrapped('coalescing-memory', memory, (provider) => new CoalescingProvider(provider)),
  wrapped(
    'observed-memory',
    memory,
    (provider) => new ObservedProvider(provider, { begin: () => () => undefined }),
  ),
  jsonFile,
  // the stores above a coalescing port are those of `coalescing-memory`
  wrapped(
    'coalescing-json-file',
    { ...jsonFile, portOnly: true },
    (provider) => new CoalescingProvider(provider),
  ),
  documents,
  // the stores are those of the two below, which coalesce as in production
  { ...postgres, portOnly: true },
  wrapped(
    'postgres-within',
    {
      ...postgres,
      portOnly: true,
      lacks: ['hints', 'hints, one process', 'feed, hints, one process', 'no within', 'no feed'],
    },
    (provider) => eachCallWithin(provider, () => plainTables.begin()),
  ),
  wrapped('postgres-row-level-security', postgresSecured, (provider) => new CoalescingProvider(provider)),
  wrapped('postgres-by-url', postgresByUrl, (provider) => new CoalescingProvider(provider)),
];

/** Those that this run is about: all, or what KVENT_PROVIDER names, separated by commas. */
export const providers: readonly ListedProvider[] = chosen(process.env['KVENT_PROVIDER']);

/** The same with a wrapper around each provider. */
function wrapped(name: string, inner: ListedProvider, wrap: (provider: Created) => Created): ListedProvider {
  return { ...inner, name, create: async (options) => wrap(await inner.create(options)) };
}

/** Turns a letter round in the middle of every journal and snapshot. */
function spoilFiles(directory: string): void {
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (!/(journal|snapshot)-.*\.json/.test(name)) continue;
    const bytes = readFileSync(join(directory, name));
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    writeFileSync(join(directory, name), bytes);
  }
}

function chosen(names: string | undefined): readonly ListedProvider[] {
  if (names === undefined || names === '') return all;
  return names.split(',').map((name) => {
    const found = all.find((provider) => provider.name === name.trim());
    if (found !== undefined) return found;
    throw new Error(
      `There is no provider '${name}' in test/providers.ts; there are ${all.map((each) => each.name).join(', ')}.`,
    );
  });
}
