/** Which part of the feed is read: tenants, stream types, providers; and what is refused. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  JsonFileProvider,
  MemoryProvider,
  type KeyValueStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { EventStore } from '../event-store.js';
import type { FeedReadOptions } from './event-feed.js';
import { defineStream, event } from '../definition/stream-definition.js';

const options = {
  events: { noted: event<{ text: string }>() },
  initial: (): readonly string[] => [],
  evolve: (texts: readonly string[], { data: { text } }: { data: { text: string } }) => [...texts, text],
};
const Notes = defineStream('note', options);
const Shared = defineStream('shared', { ...options, scope: 'shared' });
const Elsewhere = defineStream('elsewhere', { ...options, provider: 'other' });
const Hidden = defineStream('hidden', { ...options, feed: false });
const noted = (text: string) => [{ type: 'noted', data: { text } }] as const;

let provider: StorageProvider;
let storage: KeyValueStorage;
let events: EventStore;
let tenant: string | undefined;
beforeEach(async () => {
  tenant = 'acme';
  provider = new MemoryProvider();
  storage = await openKeyValueStorage({
    provider,
    providers: { other: new MemoryProvider() },
    tenant: () => tenant,
  });
  events = new EventStore(storage);
  for (const name of ['acme', 'globex', 'initech'])
    await events.stream(Notes).forTenant(name).append('n', noted(name), { expectedVersion: 0 });
  await events.stream(Shared).append('s', noted('all'), { expectedVersion: 0 });
});
afterEach(() => storage[Symbol.asyncDispose]());

type Options = FeedReadOptions<typeof Notes>;
const textsOf = async (selection: Options) =>
  (await events.readFeed(selection)).events.map((item) => [item.tenant, item.data.text]);
const refusal = async (selection: object) =>
  await events.readFeed(selection as Options).then(
    () => 'nothing',
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );

describe('a read of the feed', () => {
  it('is of the current tenant, and of others only where they are named', async () => {
    expect(await textsOf({ streams: [Notes] })).toEqual([['acme', 'acme']]);
    expect(await textsOf({ streams: [Notes], tenants: ['globex', 'initech'] })).toEqual([
      ['globex', 'globex'],
      ['initech', 'initech'],
    ]);
    expect(await textsOf({ streams: [Notes], tenants: [] })).toEqual([]);
    expect((await textsOf({ streams: [Notes], tenants: 'all' })).map(([name]) => name)).toEqual([
      'acme',
      'globex',
      'initech',
    ]);
    tenant = undefined;
    expect(await refusal({ streams: [Notes] })).toContain('TENANT_MISSING');
    expect((await textsOf({ streams: [Notes], tenants: 'all' })).length).toBe(3);
  });

  it('has the streams that all tenants share, beside those of the asked tenants', async () => {
    expect(await textsOf({ streams: [Notes, Shared] })).toEqual([
      ['acme', 'acme'],
      [undefined, 'all'],
    ]);
    expect(await textsOf({ streams: [Shared], tenants: ['globex'] })).toEqual([[undefined, 'all']]);
    expect(await textsOf({ streams: [Shared, Notes], tenants: ['globex'] })).toEqual([
      ['globex', 'globex'],
      [undefined, 'all'],
    ]);
  });

  it('has no rows of a container that a stream of another scope had before', async () => {
    const { row, ...address } = await eventRow();
    await provider.administration.import('tenant:acme', [
      {
        ...address,
        container: 'event:shared',
        row: { ...row, position: 'f'.repeat(32).replaceAll('f', '1') },
      },
    ]);
    await provider.administration.import('shared', [
      { ...address, row: { ...row, position: '2'.repeat(32) } },
    ]);
    expect(await textsOf({ streams: [Notes, Shared] })).toEqual([
      ['acme', 'acme'],
      [undefined, 'all'],
    ]);
  });

  it('keeps the tenant of the call on later pages of a reader', async () => {
    const reader = events.feed({ streams: [Notes] })[Symbol.asyncIterator]();
    tenant = 'globex';
    expect((await reader.next()).value).toMatchObject({ tenant: 'acme' });
    await events.stream(Notes).append('later', noted('globex'), { expectedVersion: 0 });
    await events.stream(Notes).forTenant('acme').append('later', noted('acme'), { expectedVersion: 0 });
    expect((await reader.next()).value).toMatchObject({ tenant: 'acme', stream: 'later' });
    await reader.return?.();
  });

  it('goes on with what is imported while its reader waits', async () => {
    const raw = await eventRow();
    const reader = events.feed({ streams: [Notes] })[Symbol.asyncIterator]();
    await reader.next();
    const next = reader.next();
    await setImmediate();
    await provider.administration.import('tenant:acme', [{ ...raw, entity: 'imported' }]);
    expect((await next).value).toMatchObject({ stream: 'imported', data: { text: 'acme' } });
    await reader.return?.();
  });

  it('returns what stands before an event that cannot be read, then its error', async () => {
    const raw = await eventRow();
    const { next } = await events.readFeed({ streams: [Notes], limit: 0 });
    await provider.administration.import('tenant:acme', [
      {
        ...raw,
        entity: 'bad',
        row: { ...raw.row, value: { kind: 'json', text: '[]' }, position: `${next.slice(0, 31)}9` },
      },
    ]);
    await events.stream(Notes).append('behind', noted('behind'), { expectedVersion: 0 });
    const page = await events.readFeed({ streams: [Notes] });
    expect([page.events.length, page.upToDate]).toEqual([1, false]);
    await expect(events.readFeed({ streams: [Notes], after: page.next })).rejects.toMatchObject({
      code: 'EVENT_UNREADABLE',
      stream: 'note/bad',
    });
  });

  it('is refused with a coded error that names what is allowed', async () => {
    const answers = {
      'streams must be an array with at least one stream definition': { streams: [] },
      'must come from defineStream': { streams: [{}] },
      "tenants must be 'all' or an array of tenants": { streams: [Notes], tenants: 'acme' },
      'after must be a position of the feed': { streams: [Notes], after: 'x' },
      'deletions must be true or false': { streams: [Notes], deletions: 1 },
      "'hidden' is not in the feed": { streams: [Hidden] },
      'all streams of one call must be on one provider': { streams: [Notes, Elsewhere] },
      "has no option 'tenant'": { streams: [Notes], tenant: 'acme' },
    };
    for (const [message, selection] of Object.entries(answers)) {
      const answer = await refusal(selection);
      expect(answer).toContain(message);
      expect(answer).toContain('INVALID_OPTION');
    }
    expect(await refusal({ streams: [Notes], limit: -1 })).toContain('OUT_OF_RANGE');
    expect(await refusal({ streams: [Notes], limit: 1_001 })).toContain('LIMIT_EXCEEDED');
    expect(await refusal({ streams: [Notes], tenants: [''] })).toContain('TENANT_MISSING');
    expect(() => events.feed({ streams: [] })).toThrow('streams must be an array');
  });

  it('is STORAGE_UNSUPPORTED on a provider without a feed, where streams work', async () => {
    const memory = new MemoryProvider();
    Object.assign(memory, { features: { ...memory.features, feed: false }, feed: undefined });
    await using plain = await openKeyValueStorage({ provider: memory });
    const store = new EventStore(plain);
    await store.stream(Notes).append('n', noted('one'), { expectedVersion: 0 });
    await expect(store.readFeed({ streams: [Notes] })).rejects.toMatchObject({
      code: 'STORAGE_UNSUPPORTED',
      message: expect.stringContaining("'memory' has no feed"),
    });
  });
});

/** The row of an event of the tenant acme. */
async function eventRow(): Promise<RawRow> {
  for await (const raw of provider.administration.export('tenant:acme'))
    if (raw.container === 'event:note') return raw;
  throw new Error('There is no event.');
}

it('the feed ends with the error of every other call when the lock of the JSON file is lost', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kvent-feed-'));
  try {
    const clock = new ManualClock();
    await using file = await openKeyValueStorage({ provider: new JsonFileProvider({ directory, clock }) });
    const store = new EventStore(file);
    await store.stream(Notes).append('n', noted('one'), { expectedVersion: 0 });
    const feed = store.feed({ streams: [Notes] })[Symbol.asyncIterator]();
    expect((await feed.next()).value).toMatchObject({ data: { text: 'one' } });
    const next = feed.next();
    rmSync(join(directory, '.lock.json'));
    await clock.advance(2_500);
    await expect(next).rejects.toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
