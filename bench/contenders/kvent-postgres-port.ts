/**
 * Kvent on Postgres at the port: the provider behind the coalescer, which typed stores and other
 * packages build on. JSON text in and out.
 */
import type { StorageProvider } from '@kvent/key-value-storage/core';
import {
  CoalescingProvider,
  encodeKey,
  versionSource,
  type Change,
  type ChangedRow,
  type Expected,
  type Value,
} from '@kvent/key-value-storage/provider';
import { databaseOf } from '@kvent/key-value-storage/internal';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { DataSource } from 'typeorm';
import type { Contender, Opening } from '../contender.js';
import { assertNoLostUpdate, counterKeys, hotKeys, savedKeys } from '../database-keys.js';
import { poolSize } from '../database-server.js';
import { keyAt, product } from '../product.js';

const database = databaseOf('acme');
const products = { container: 'state:state', entity: 'product' };
const counters = { container: 'counter:counter', entity: 'views' };
const fillBatchRows = 500;

export const openPort: Opening = async ({ keys, database: target }) =>
  await open('kvent, at the port', new PostgresProvider({ ...target }), keys, 'no codec, no entries');

export const openPortOnDataSource: Opening = async ({
  keys,
  database: { url = '', schema = '' } = {} as never,
}) => {
  const dataSource = new DataSource({ type: 'postgres', url, poolSize });
  await dataSource.initialize();
  const provider = new PostgresProvider({ dataSource, schema });
  const contender = await open(
    'kvent, { dataSource }',
    provider,
    keys,
    "at the port, on the application's own data source",
  );
  return {
    ...contender,
    close: async () => {
      await contender.close?.();
      await dataSource.destroy();
    },
  };
};

async function open(
  name: string,
  inner: StorageProvider,
  keys: readonly string[],
  note: string,
): Promise<Contender> {
  const provider = new CoalescingProvider(inner);
  await provider.open();
  const newVersion = versionSource();
  const commit = async (
    change: Change,
    expected?: Expected,
  ): Promise<{ readonly version: string; readonly row: ChangedRow | undefined }> => {
    const version = newVersion();
    const checks = expected === undefined ? [] : [{ address: change.address, expected }];
    const [result] = await provider.commit([{ database, version, checks, changes: [change] }]);
    if (result?.outcome !== 'committed')
      throw new Error(`${name} returned ${String(result?.outcome)} for ${change.address.key}.`);
    return { version, row: result.rows[0] };
  };
  const put = async (key: string, expected?: Expected): Promise<string> => {
    const address = { ...products, key: encodeKey(key) };
    const ttl = expected === undefined ? 'never' : ({ keepElse: 'never' } as const);
    return (await commit({ kind: 'put', address, value: json(), ttl }, expected)).version;
  };
  const increment = async (key: string): Promise<bigint> => {
    const change = { kind: 'sum', address: { ...counters, key: encodeKey(key) }, operand: 1n } as const;
    return (await commit(change)).row?.number ?? 0n;
  };
  const addressOf = (key: string) => ({ database, ...products, key: encodeKey(key) });

  /** Stores some hundred rows in one batch; they have one version. */
  const fill = async (some: readonly string[]): Promise<string> => {
    const version = newVersion();
    const changes = some.map(
      (key) =>
        ({
          kind: 'put',
          address: { ...products, key: encodeKey(key) },
          value: json(),
          ttl: 'never',
        }) as const,
    );
    const [result] = await provider.commit([{ database, version, checks: [], changes }]);
    if (result?.outcome !== 'committed')
      throw new Error(`${name} could not be filled: ${String(result?.outcome)}.`);
    return version;
  };

  const saved = savedKeys(keys);
  const versions = new Map<string, string>();
  for (let index = 0; index < keys.length; index += fillBatchRows) {
    await fill(keys.slice(index, index + fillBatchRows));
    const some = saved.slice(index, index + fillBatchRows);
    const version = await fill(some);
    for (const key of some) versions.set(key, version);
  }
  const many = keys.slice(0, 100);
  const counted = new Map<string, number>();
  return {
    name,
    traits: { survives: 'power loss', comparesAndSets: true, returns: 'text', note },
    verbs: {
      get: (call) => provider.read([addressOf(keyAt(keys, call))]),
      set: (call) => put(keyAt(keys, call)),
      save: async (call) => {
        const key = keyAt(saved, call);
        versions.set(key, await put(key, { version: versions.get(key) as string }));
      },
      getMany: () => provider.read(many.map(addressOf)),
      increment: (call) => increment(keyAt(counterKeys, call)),
      'hot increment': async (call) => {
        const key = keyAt(hotKeys, call);
        await increment(key);
        counted.set(key, (counted.get(key) ?? 0) + 1);
      },
    },
    verify: async () => {
      const { rows } = await provider.read(
        hotKeys.map((key) => ({ database, ...counters, key: encodeKey(key) })),
      );
      const numbers = new Map(hotKeys.map((key, index) => [key, numberOf(rows[index]?.value)]));
      assertNoLostUpdate(name, { contention: { done: 0, repeated: 0 }, stocks: [], counted, numbers });
    },
    close: () => provider.close(),
  };
}

/** Serialized for each write, as an application does. */
const json = () => ({ kind: 'json', text: JSON.stringify(product) }) as const;
const numberOf = (value: Value | undefined): number =>
  value?.kind === 'number' ? Number(value.number) : Number.NaN;
