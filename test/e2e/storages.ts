/** The storages that every suite of the shop runs on, once: a new one needs one entry here. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { JsonFileProvider, MemoryProvider, type Clock, type StorageProvider } from '@kvent/key-value-storage';
import { freshDatabase } from '../postgres/databases.js';

export interface StorageUnderTest {
  /** As in `test/providers.ts`, and in KVENT_PROVIDER. */
  readonly name: string;
  /** Whether the shop finds its data again after a restart. */
  readonly survives: boolean;
  /** Whether several shops may use one place at once. */
  readonly shared: boolean;
  /** A place of its own, with nothing in it. */
  place(): Promise<Place>;
}

export interface Place extends AsyncDisposable {
  /** What STOREFRONT_STORAGE is set to. */
  readonly setting: string;
  /** The same place in this process. */
  create(clock?: Clock): StorageProvider;
}

const memory: StorageUnderTest = {
  name: 'memory',
  survives: false,
  shared: false,
  place: () =>
    Promise.resolve({
      setting: 'memory',
      create: (clock?: Clock) => new MemoryProvider(clock === undefined ? {} : { clock }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

const jsonFile: StorageUnderTest = {
  name: 'json-file',
  survives: true,
  shared: false,
  place: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-storefront-'));
    return {
      setting: directory,
      create: (clock?: Clock) => new JsonFileProvider({ directory, ...(clock !== undefined && { clock }) }),
      [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
    };
  },
};

const postgres: StorageUnderTest = {
  name: 'postgres',
  survives: true,
  shared: true,
  place: async () => {
    const { url, [Symbol.asyncDispose]: dispose } = await freshDatabase();
    return {
      setting: url,
      create: (clock?: Clock) =>
        new PostgresProvider({ url, schema: 'storefront', ...(clock !== undefined && { clock }) }),
      [Symbol.asyncDispose]: dispose,
    };
  },
};

const all: readonly StorageUnderTest[] = [memory, jsonFile, postgres];

/** Those that this run is about: all, or what KVENT_PROVIDER names, separated by commas. */
const asked = process.env['KVENT_PROVIDER'];
export const storages =
  asked === undefined || asked === '' ? all : all.filter(({ name }) => asked.split(',').includes(name));
/** Those that outlive the process. */
export const lasting = storages.filter(({ survives }) => survives);
/** Those that several shops may use at once. */
export const shared = storages.filter((storage) => storage.shared);
