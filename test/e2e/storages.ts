/** The storages that every suite of the shop runs on, once: a new one needs one entry here. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JsonFileProvider, MemoryProvider, type Clock, type StorageProvider } from '@kvent/key-value-storage';

export interface StorageUnderTest {
  /** As in `test/providers.ts`, and in KVENT_PROVIDER. */
  readonly name: string;
  /** Whether the shop finds its data again after a restart. */
  readonly survives: boolean;
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
  place: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-storefront-'));
    return {
      setting: directory,
      create: (clock?: Clock) => new JsonFileProvider({ directory, ...(clock !== undefined && { clock }) }),
      [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
    };
  },
};

const all: readonly StorageUnderTest[] = [memory, jsonFile];

/** Those that this run is about: all, or what KVENT_PROVIDER names, separated by commas. */
const asked = process.env['KVENT_PROVIDER'];
export const storages = asked === undefined || asked === '' ? all : all.filter(({ name }) => asked.split(',').includes(name));
/** Those that outlive the process. */
export const lasting = storages.filter(({ survives }) => survives);
