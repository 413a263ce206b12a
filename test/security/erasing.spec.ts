/**
 * What remains of deleted personal data: in the storage, and in the files of the JSON file
 * provider.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store';
import {
  copyStorage,
  defineState,
  JsonFileProvider,
  openStorage,
  type KeyValueStore,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { storages } from '../e2e/storages.js';

const name = 'Ada-Lovelace';
const People = defineState<{ name: string }>('person');
const Visits = defineStream('visit', {
  events: { arrived: event<{ name: string }>() },
  initial: (): { readonly names: readonly string[] } => ({ names: [] }),
  evolve: (visit, { data }) => ({ names: [...visit.names, data.name] }),
});

describe.each(storages)('Deleted personal data, on $name', (given) => {
  it('is in no row, neither as a value nor in events or snapshots; the id and the version of a stream remain', async () => {
    await using temporary = await given.create();
    const provider = temporary.openProvider();
    await using storage = await openStorage(provider, { tenant: 'acme' });
    const events = new EventStore(storage);
    await using _closing = { [Symbol.asyncDispose]: () => events.close() };
    const [people, visits] = [storage.store(People), events.stream(Visits)];
    await people.set('p-1', { name });
    await visits.append('p-1', [{ type: 'arrived', data: { name } }], {
      expectedVersion: 'absent',
      idempotencyKey: 'once',
    });
    await visits.snapshot('p-1');
    expect(await rowsOf(provider, 'tenant:acme')).toContain(name);

    expect([await people.delete('p-1'), await visits.delete('p-1')]).toEqual([true, true]);
    const remaining = await rowsOf(provider, 'tenant:acme');
    expect(remaining).not.toContain(name);
    expect(remaining).toContain('head:visit');
  });

  it('is in no row after the tenant was dropped, and other tenants keep their rows', async () => {
    await using temporary = await given.create();
    const provider = temporary.openProvider();
    await using storage = await openStorage(provider, { tenant: 'acme' });
    const people = storage.store(People);
    await people.set('p-1', { name });
    await people.forTenant('globex').set('p-1', { name: 'Charles-Babbage' });
    const rowsOfGlobex = await rowsOf(provider, 'tenant:globex');

    expect(await provider.administration.drop('tenant:acme')).toBe(true);
    expect(await rowsOf(provider, 'tenant:acme')).toBe('');
    expect(await provider.administration.databases()).toEqual(['tenant:globex']);
    expect(await rowsOf(provider, 'tenant:globex')).toBe(rowsOfGlobex);
  });
});

describe('Deleted personal data, in the files of the JSON file provider', () => {
  it('is in the journal until the next compaction, and in no file after it', async () => {
    await using folder = await temporaryFolder();
    const directory = join(folder.path, 'data');
    const storage = await openStorage(
      new JsonFileProvider({ directory, compaction: { minimumBytes: 10_000, ratio: 1 } }),
      {
        tenant: 'acme',
      },
    );
    const people = storage.store(People);
    await people.set('p-1', { name });
    await people.delete('p-1');
    expect(await filesHolding(directory, name)).toEqual([expect.stringMatching(/journal-\d+\.jsonl$/)]);

    // Compaction runs in the background, so the journal is filled until it is done.
    await fillUntil(people, async () => (await filesHolding(directory, name)).length === 0);
    await storage[Symbol.asyncDispose]();
    expect(await filesHolding(directory, name)).toEqual([]);
  });

  it('is in no file of a later copy', async () => {
    await using folder = await temporaryFolder();
    const [from, to] = [
      new JsonFileProvider({ directory: join(folder.path, 'from') }),
      new JsonFileProvider({ directory: join(folder.path, 'to') }),
    ];
    await using source = await openStorage(from, { tenant: 'acme' });
    await using target = await openStorage(to, { tenant: 'acme' });
    await source.store(People).set('p-1', { name });
    await source.store(People).set('p-2', { name: 'Charles-Babbage' });
    await source.store(People).delete('p-1');

    await copyStorage(from, to);
    expect(await target.store(People).count()).toBe(1);
    expect(await filesHolding(join(folder.path, 'from'), name)).toHaveLength(1);
    expect(await filesHolding(join(folder.path, 'to'), name)).toEqual([]);
  });
});

async function fillUntil(
  people: KeyValueStore<{ name: string }>,
  isDone: () => Promise<boolean>,
): Promise<void> {
  while (!(await isDone())) await people.set('filler', { name: 'x'.repeat(1_000) });
}

async function rowsOf(provider: StorageProvider, database: string): Promise<string> {
  const rows: string[] = [];
  for await (const row of provider.administration.export(database))
    rows.push(inspect(row, { depth: 6, maxStringLength: null }));
  return rows.join('\n');
}

async function filesHolding(directory: string, text: string): Promise<readonly string[]> {
  const names = (await readdir(directory, { recursive: true })).filter((file) => /\.jsonl?$/.test(file));
  // A file that a compaction has just removed counts as empty.
  const contents = await Promise.all(
    names.map((file) => readFile(join(directory, file), 'utf8').catch(() => '')),
  );
  return names.filter((_, index) => contents[index]?.includes(text));
}

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kvent-erasing-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
