/**
 * Rows and backups that no export can produce are refused with their names, and the target still
 * opens and reads.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  copyStorage,
  defineState,
  isStorageError,
  MemoryProvider,
  openStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import {
  feedEnd,
  feedKeptEnd,
  feedPositionOf,
  partsOfPosition,
  type RawRow,
} from '@kvent/key-value-storage/provider';
import { KventProcess } from '../cli/kvent.js';
import { freshDatabase } from '../postgres/databases.js';
import { build } from '../packaging/build.js';
import { storages } from '../e2e/storages.js';

const Notes = defineState<{ text: string }>('note');
const valid: RawRow = {
  container: 'state:state',
  entity: 'note',
  key: 'a',
  row: { version: '7', value: { kind: 'json', text: '{"text":"valid"}' }, updatedAt: 1 },
};
const withRow = (row: Partial<RawRow['row']>): RawRow => ({
  ...valid,
  key: 'b',
  row: { ...valid.row, ...row },
});

const invalidRows: readonly (readonly [what: string, row: RawRow])[] = [
  ['a time beyond every number', withRow({ updatedAt: Infinity })],
  ['a time that is no date', withRow({ updatedAt: 9e15 })],
  ['an expiry between two milliseconds', withRow({ expiresAt: 1.5, ttlMs: 1 })],
  [
    '200,000 levels of JSON',
    withRow({ value: { kind: 'json', text: `${'['.repeat(200_000)}${']'.repeat(200_000)}` } }),
  ],
  ['a broken pair of quotes', withRow({ value: { kind: 'json', text: '{"text":"' } })],
  ['two JSON texts in one', withRow({ value: { kind: 'json', text: '1},"x":{' } })],
  ['a number beyond 64 bits', withRow({ value: { kind: 'number', number: 2n ** 63n } })],
  ['a version beyond 63 bits', withRow({ version: `${2n ** 63n}` })],
  [
    'the position of an event behind which there is none',
    withRow({ position: '7fffffffffffffff'.repeat(2) }),
  ],
  ['the first position that no provider gives', withRow({ position: feedEnd })],
  ['a version with a line feed', withRow({ version: '7\n' })],
  ['a key that is no encoding', { ...valid, key: '!x' }],
  ['a key of control characters', { ...valid, key: 'a\u0000b' }],
  ['a key that is too long', { ...valid, key: 'k'.repeat(2_000) }],
];

describe.each(storages)('An invalid row, on $name', (given) => {
  it.each(invalidRows)(
    'with %s is refused by import and by copy, and the storage still opens and reads',
    async (_what, row) => {
      await using temporary = await given.create();
      const assertRefused = async (provider: StorageProvider): Promise<void> => {
        expect(await provider.administration.import('tenant:acme', [valid])).toBe(1);
        expect(await codeOf(provider.administration.import('tenant:acme', [valid, row]))).toBe(
          'STORAGE_CORRUPT',
        );
        await using source = await opened(new MemoryProvider());
        expect(
          await codeOf(copyStorage(exporting(source.provider, 'tenant:globex', [valid, row]), provider)),
        ).toBe('STORAGE_CORRUPT');
      };
      {
        await using first = await opened(temporary.openProvider());
        await assertRefused(first.provider);
      }
      await using storage = await openStorage(temporary.openProvider(), { tenant: 'acme' });
      if (!given.durable) return void expect(await storage.store(Notes).count()).toBe(0);
      const texts: string[] = [];
      for await (const { value } of storage.store(Notes).list()) texts.push(value.text);
      expect(texts).toEqual(['valid']);
    },
  );
});

const Orders = defineStream('order', {
  events: { placed: event<{ readonly n: number }>() },
  initial: () => 0,
  evolve: (_, { data }) => data.n,
});
const placed = (n: number) => [{ type: 'placed', data: { n } }] as const;

/** The last position before this one. */
const before = (end: string): string => feedPositionOf(partsOfPosition(end)[0] - 1n, 2n ** 63n - 1n);

describe.each(storages)('An event at the largest position, on $name', (given) => {
  it.each([
    ['that is kept', before(feedKeptEnd)],
    ['that is accepted', before(feedEnd)],
  ])(
    '%s stops no append: those of other tenants stand behind it, and can be backed up and restored',
    async (_what, position) => {
      await using temporary = await given.create();
      const provider = temporary.openProvider();
      await using storage = await openStorage(provider, { tenant: 'acme' });
      const orders = new EventStore(storage).stream(Orders);
      await orders.append('a', placed(1), { expectedVersion: 0 });
      await provider.administration.import('tenant:evil', [
        { ...valid, container: 'event:order', row: { ...valid.row, position } },
      ]);
      const [first, second] = [
        (await orders.append('a', placed(2), { expectedVersion: 1 })).position ?? '',
        (await orders.append('b', placed(1), { expectedVersion: 0 })).position ?? '',
      ];
      const ofEvil = await positionsOf(provider, 'tenant:evil');
      expect([...ofEvil, first, second].toSorted()).toEqual([...ofEvil, first, second]);
      expect(second < feedEnd).toBe(true);
      await using restored = await opened(new MemoryProvider());
      await restored.provider.administration.import(
        'tenant:acme',
        provider.administration.export('tenant:acme'),
      );
      expect(await positionsOf(restored.provider, 'tenant:acme')).toHaveLength(3);
      // and back: positions that are too large to be kept stand behind those that are
      await storage.dropTenant('acme');
      await provider.administration.import(
        'tenant:acme',
        restored.provider.administration.export('tenant:acme'),
      );
      const positions = await positionsOf(provider, 'tenant:acme');
      expect(positions).toEqual(positions.toSorted());
      await orders.append('a', placed(3), { expectedVersion: 2 });
    },
  );
});

/** The positions of the events of a database, in the order of their addresses. */
async function positionsOf(provider: StorageProvider, database: string): Promise<readonly string[]> {
  const positions: string[] = [];
  for await (const { container, row } of provider.administration.export(database))
    if (container === 'event:order') positions.push(row.position ?? 'none');
  return positions;
}

describe('A backup with an event at the last position', () => {
  beforeAll(build);

  it('is refused by `kvent restore` to Postgres, and every tenant still appends', async () => {
    await using database = await freshDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'kvent-hostile-'));
    try {
      const from = join(folder, 'evil.jsonl');
      const position = '7fffffffffffffff'.repeat(2);
      await writeFile(
        from,
        `{"kvent":"backup","format":1,"from":"m","at":"2026-11-21T06:00:00.000Z"}
{"database":"tenant:evil"}
{"container":"event:order","entity":"o","key":"!n1b1","version":"7","updatedAt":1,"position":"${position}","json":{"n":1}}
`,
      );
      await using command = new KventProcess(['restore', '--from', from, '--to', database.url], folder);
      const { code, stderr } = await command.exit;
      expect([code, stderr]).toEqual([1, expect.stringContaining('its position in the feed is 7fff')]);
      await using storage = await openStorage(new PostgresProvider({ url: database.url }), {
        tenant: 'acme',
      });
      const { version } = await new EventStore(storage)
        .stream(Orders)
        .append('a', placed(1), { expectedVersion: 0 });
      expect(version).toBe(1);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('A backup with an endless line', () => {
  beforeAll(build);

  it('is refused by `kvent restore` with little memory, and nothing is restored', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kvent-hostile-'));
    try {
      const [from, to] = [join(folder, 'bomb.gz'), join(folder, 'restored')];
      const megabyte = 'x'.repeat(1_048_576);
      await pipeline(
        Readable.from(
          (function* () {
            yield '{"kvent":"backup","format":1,"from":"m","at":"2026-11-21T06:00:00.000Z"}\n{"database":"tenant:acme"}\n';
            for (let index = 0; index < 600; index++) yield megabyte;
          })(),
        ),
        createGzip({ level: 1 }),
        createWriteStream(from),
      );
      // Less memory than the line needs: a command that buffers the whole line would crash.
      await using command = new KventProcess(['restore', '--from', from, '--to', to], folder, {
        env: { NODE_OPTIONS: '--max-old-space-size=64' },
      });
      const { code, stderr } = await command.exit;
      expect([code, stderr]).toEqual([1, expect.stringContaining('backupLineBytesMax')]);
      await using restored = await opened(new MemoryProvider());
      expect(await restored.provider.administration.databases()).toEqual([]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** Opens a provider until the end of the block. */
async function opened(
  provider: StorageProvider,
): Promise<AsyncDisposable & { readonly provider: StorageProvider }> {
  await provider.open();
  return { provider, [Symbol.asyncDispose]: () => provider.close() };
}

/** A provider that exports these rows from one database. */
function exporting(provider: StorageProvider, database: string, rows: readonly RawRow[]): StorageProvider {
  const administration = {
    databases: () => Promise.resolve([database]),
    spaces: () => Promise.resolve([{ database, container: valid.container, entity: valid.entity }]),
    async *export() {
      for (const row of rows) yield await Promise.resolve(row);
    },
    import: (into: string, given: Iterable<RawRow> | AsyncIterable<RawRow>) =>
      provider.administration.import(into, given),
    drop: (dropped: string) => provider.administration.drop(dropped),
  };
  return new Proxy(provider, {
    get(target, name): unknown {
      if (name === 'administration') return administration;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    return isStorageError(error) ? error.code : error;
  }
}
