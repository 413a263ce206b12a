/** The storages that every suite of the shop runs on. A new storage needs one entry here. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { JsonFileProvider, MemoryProvider, type Clock, type StorageProvider } from '@kvent/key-value-storage';
import type { HttpFramework } from '../../apps/storefront/src/http/adapter.js';
import { freshDatabase } from '../postgres/databases.js';

export interface StorageUnderTest {
  /** As in `test/providers.ts`, and in KVENT_PROVIDER. */
  readonly name: string;
  /** Whether the data survive a restart of the shop. */
  readonly durable: boolean;
  /** Whether several shops may use one storage at the same time. */
  readonly shared: boolean;
  /** The HTTP framework of the shop: every suite runs on both, without a run for each pair. */
  readonly http: HttpFramework;
  /** Creates an empty storage. */
  create(): Promise<TemporaryStorage>;
}

export interface TemporaryStorage extends AsyncDisposable {
  /** The value of STOREFRONT_STORAGE. */
  readonly setting: string;
  /** A provider of this storage for this process. */
  openProvider(clock?: Clock): StorageProvider;
}

const memory: StorageUnderTest = {
  name: 'memory',
  durable: false,
  shared: false,
  http: 'fastify',
  create: () =>
    Promise.resolve({
      setting: 'memory',
      openProvider: (clock?: Clock) => new MemoryProvider(clock === undefined ? {} : { clock }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

const jsonFile: StorageUnderTest = {
  name: 'json-file',
  durable: true,
  shared: false,
  http: 'express',
  create: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-storefront-'));
    return {
      setting: directory,
      openProvider: (clock?: Clock) =>
        new JsonFileProvider({ directory, ...(clock !== undefined && { clock }) }),
      [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
    };
  },
};

/** A busy machine may keep all connections busy for longer than the default of five seconds. */
const acquireTimeoutMs = 120_000;

const postgres: StorageUnderTest = {
  name: 'postgres',
  durable: true,
  shared: true,
  http: 'fastify',
  create: async () => {
    const { url, [Symbol.asyncDispose]: dispose } = await freshDatabase();
    return {
      setting: url,
      openProvider: (clock?: Clock) =>
        new PostgresProvider({
          url,
          schema: 'storefront',
          acquireTimeoutMs,
          ...(clock !== undefined && { clock }),
        }),
      [Symbol.asyncDispose]: dispose,
    };
  },
};

const all: readonly StorageUnderTest[] = [memory, jsonFile, postgres];

/** KVENT_PROVIDER selects storages by name, separated by commas. */
const selected = process.env['KVENT_PROVIDER'];
export const storages =
  selected === undefined || selected === ''
    ? all
    : all.filter(({ name }) => selected.split(',').includes(name));
/** The storages whose data survive the process. */
export const durableStorages = storages.filter(({ durable: survives }) => survives);
/** The storages that several shops may use at the same time. */
export const sharedStorages = storages.filter((storage) => storage.shared);
