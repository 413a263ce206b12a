/**
 * Rows and backups that no export can produce are refused with their names, and the target still
 * opens and reads.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  copyStorage,
  defineState,
  isStorageError,
  MemoryProvider,
  openStorage,
  type StorageProvider,
} from '@kvent/key-value-storage';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { KventProcess } from '../cli/kvent.js';
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
