/**
 * Holds the table 'Async frames of a single call' of docs/architecture.md: no number may rise above
 * it.
 */
import fs, { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, JsonFileProvider, MemoryProvider } from '@kvent/key-value-storage';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { RowTable, type StorageProvider } from '@kvent/key-value-storage/provider';
import { Client } from 'pg';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { countAsyncFrames, type Innermost } from './count-async-frames.js';

const page = readFileSync(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8');

const Things = defineState<{ text: string }>('thing');
const Notes = defineStream('note', {
  events: { noted: event<{ text: string }>() },
  initial: (): readonly string[] => [],
  evolve: (texts: readonly string[], { data: { text } }) => [...texts, text],
});
const noted = { type: 'noted', data: { text: 'a' } } as const;

const directory = mkdtempSync(join(tmpdir(), 'kvent-frames-'));
const table = ['get', 'apply'].map((method) => ({ of: RowTable.prototype, method }));
let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

const providers: Readonly<Record<string, () => readonly [StorageProvider, Innermost[], Innermost[]]>> = {
  memory: () => [new MemoryProvider(), table, table],
  'JSON file': () => [
    new JsonFileProvider({ directory: join(directory, 'rows') }),
    table,
    [{ of: fs, method: 'write' }],
  ],
  Postgres: () => {
    const query = [{ of: Client.prototype, method: 'query' }];
    return [new PostgresProvider({ url: database.url, poolSize: 1 }), query, query];
  },
};

/** The smallest of several counts: work in the background may fall into one of them. */
async function fewest(count: () => Promise<number>): Promise<number> {
  let frames = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round += 1) frames = Math.min(frames, await count());
  return frames;
}

/** A call that comes after others like it: everything is open, prepared and learnt. */
async function measure(name: string): Promise<Readonly<Record<'get' | 'set' | 'append', number>>> {
  const [provider, reading, writing] = (providers[name] as (typeof providers)[string])();
  const storage = await openKeyValueStorage({ provider });
  try {
    const things = storage.store(Things);
    const notes = new EventStore(storage).stream(Notes);
    const calls = {
      get: async () => await things.get('a'),
      set: async () => await things.set('a', { text: 'a' }),
      append: async () => await notes.append('a', [noted], { expectedVersion: version++ }),
    };
    let version = 0;
    for (let round = 0; round < 3; round += 1) for (const call of Object.values(calls)) await call();
    return {
      get: await fewest(() => countAsyncFrames(reading, calls.get)),
      set: await fewest(() => countAsyncFrames(writing, calls.set)),
      append: await fewest(() => countAsyncFrames(writing, calls.append)),
    };
  } finally {
    await storage[Symbol.asyncDispose]();
  }
}

/** A row of the table: `| Postgres | 14 (30) | … |`, the number now and the one before. */
function documented(name: string): readonly number[] {
  const [, section = ''] = page.split('## Async frames of a single call');
  const row = section.split('\n').find((line) => line.startsWith(`| ${name} |`)) ?? '';
  return row
    .split('|')
    .slice(2, 5)
    .map((cell) => Number.parseInt(cell, 10));
}

describe('the async frames of a lone call', () => {
  it.each(Object.keys(providers))('are on %s at most what docs/architecture.md says', async (name) => {
    const { get, set, append } = await measure(name);
    const allowed = documented(name);
    expect(allowed).toHaveLength(3);
    const exceeded = [get, set, append].filter((frames, index) => !(frames <= (allowed[index] ?? NaN)));
    expect({ name, exceeded, frames: [get, set, append] }).toMatchObject({ exceeded: [] });
  });
});
