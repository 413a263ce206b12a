import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../providers/memory/memory-provider.js';
import { delegating } from '../core/providers/delegating.js';
import { ManualClock } from '../testing/kit/manual-clock.js';
import { temporaryJsonFile } from '../testing/temporary-json-file.js';
import { copyDatabase, copyStorage } from './copy-database.js';
import type { CopyProgress } from './copy-options.js';
import { isStorageError, storageError, type StorageError } from '../core/base/errors.js';
import { openStorage } from '../core/store/open-storage.js';
import { defineState } from '../core/store/state-definition.js';
import type { RawRow, Row, StorageAdministration, StorageProvider } from '../core/port/storage-provider.js';

const acme = 'tenant:acme';
const globex = 'tenant:globex';
const hour = 3_600_000;

let clock: ManualClock;
let from: MemoryProvider;
let to: MemoryProvider;
let now: number;

beforeEach(async () => {
  clock = new ManualClock();
  now = clock.now();
  from = new MemoryProvider({ clock });
  to = new MemoryProvider({ clock });
  await Promise.all([from.open(), to.open()]);
});
afterEach(() => Promise.all([from.close(), to.close()]));

const raw = (container: string, entity: string, key: string, row: Partial<Row> = {}): RawRow => ({
  container,
  entity,
  key,
  row: {
    version: '4611686018427387905',
    value: { kind: 'json', text: '{"a":1.0}' },
    updatedAt: now - hour,
    ...row,
  },
});

/** A row of each kind that there is, in order. */
const rowsOfEveryKind = (): readonly RawRow[] => [
  raw('counter:counter', 'views', 'mug', { value: { kind: 'number', number: 2n ** 63n - 1n } }),
  raw('event:order', 'o-1', '1'),
  raw('event:order', 'o-1', '2', { version: '2' }),
  raw('fence:order', 'o-1', 'token', { value: { kind: 'number', number: 3n } }),
  raw('head:order', '', 'o-1', { value: { kind: 'number', number: 2n } }),
  raw('head:order', '', 'o-2', { value: { kind: 'json', text: '{"version":5,"session":"s","commit":"c"}' } }),
  raw('mark:order', 'o-1', 'once', { expiresAt: now + 24 * hour, ttlMs: 25 * hour }),
  raw('snapshot:order', 'o-1', '1'),
  raw('state:state', 'image', 'logo', { value: { kind: 'bytes', bytes: Uint8Array.of(0, 255, 10) } }),
  raw('state:state', 'product', 'mug', { expiresAt: now + hour, ttlMs: 2 * hour }),
  raw('state:state', 'product', 'tea', { version: '1', updatedAt: 0 }),
];
const lease = (): RawRow => raw('lease:order', 'o-2', 'lease', { expiresAt: now + 60_000, ttlMs: 60_000 });

async function exported({ administration }: StorageProvider, database = acme): Promise<readonly RawRow[]> {
  const rows: RawRow[] = [];
  for await (const row of administration.export(database)) rows.push(row);
  return rows;
}

async function refusal(work: Promise<unknown>): Promise<StorageError & { readonly place?: string }> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isStorageError(error)) throw new Error(`It was to be refused; instead: ${String(error)}`);
  return error;
}

/** The same provider, but for some of its administration. */
const administering = (
  provider: StorageProvider,
  change: (honest: StorageAdministration) => Partial<StorageAdministration>,
): StorageProvider => ({
  ...delegating(provider),
  administration: { ...provider.administration, ...change(provider.administration) },
});

describe('what is copied', () => {
  it('is every kind of row, with versions and times to the millisecond; leases stay behind', async () => {
    await from.administration.import(acme, [...rowsOfEveryKind(), lease()]);
    const copied = await copyDatabase(from, to, { tenant: 'acme' });
    expect(await exported(to)).toEqual(rowsOfEveryKind());
    expect(copied).toMatchObject({ database: acme, outcome: 'copied', rows: 11, leases: 1 });
    expect(copied.containers.map(({ container, rows }) => `${container} ${rows}`)).toEqual([
      'counter:counter 1',
      'event:order 2',
      'fence:order 1',
      'head:order 2',
      'mark:order 1',
      'snapshot:order 1',
      'state:state 3',
    ]);
  });

  it('is the same on the JSON file, after opening it again, and back in memory: row by row and hash by hash', async () => {
    await using file = await temporaryJsonFile({ clock });
    await file.open();
    await from.administration.import(acme, [...rowsOfEveryKind(), lease()]);
    const there = await copyDatabase(from, file, { tenant: 'acme' });
    await file.close();
    await file.open();
    expect(await exported(file)).toEqual(rowsOfEveryKind());
    const back = await copyDatabase(file, to, { tenant: 'acme' });
    expect(await exported(to)).toEqual(rowsOfEveryKind());
    expect({ ...back, leases: 1 }).toEqual(there);
  });

  it('keeps the etags that clients hold, and the times at which entries expire', async () => {
    const Carts = defineState<{ items: number }>('cart', { ttlMs: hour });
    const [source, target] = [new MemoryProvider({ clock }), new MemoryProvider({ clock })];
    await using before = await openStorage(source, { tenant: 'acme' });
    await using later = await openStorage(target, { tenant: 'acme' });
    const after = later.store(Carts);
    const entry = await before.store(Carts).set('c1', { items: 1 });
    await copyDatabase(source, target, { tenant: 'acme' });
    await clock.advance(hour - 1);
    expect(await after.getOrThrow('c1')).toMatchObject({
      etag: entry.etag,
      updatedAt: entry.updatedAt,
      expiresAt: entry.expiresAt,
    });
    await after.set('c1', { items: 2 }, { ifMatch: entry.etag });
    await expect(after.set('c1', { items: 3 }, { ifMatch: entry.etag })).rejects.toMatchObject({
      code: 'STORAGE_CONFLICT',
    });
  });

  it('is one tenant alone, when one is named', async () => {
    await from.administration.import(acme, [raw('state:state', 'a', '1')]);
    await from.administration.import(globex, [raw('state:state', 'a', '1')]);
    await copyDatabase(from, to, { tenant: 'globex' });
    expect(await to.administration.databases()).toEqual([globex]);
    await from.administration.import('shared', [raw('state:state', 'a', '1')]);
    await copyDatabase(from, to, { database: 'shared' });
    expect(await to.administration.databases()).toEqual(['shared', globex]);
  });

  it('is all of a storage, with a hash of all', async () => {
    await from.administration.import(acme, rowsOfEveryKind());
    await from.administration.import(globex, [raw('state:state', 'a', '1'), lease()]);
    const copied = await copyStorage(from, to);
    expect(copied.databases.map(({ database, rows, leases }) => [database, rows, leases])).toEqual([
      [acme, 11, 0],
      [globex, 1, 1],
    ]);
    expect(copied.rows).toBe(12);
    const [one, two] = [await exported(from, globex), await exported(to, globex)];
    expect(two).toEqual(one.filter(({ container }) => container !== 'lease:order'));
    await from.administration.import(globex, [raw('state:state', 'a', '2')]);
    expect((await copyStorage(from, to, { ifPresent: 'replace' })).sha256).not.toBe(copied.sha256);
  });

  it('is nothing, and no error, where the storage is empty', async () => {
    expect(await copyStorage(from, to)).toEqual({ databases: [], rows: 0, sha256: '0'.repeat(64) });
  });

  it('is read as it is taken: nothing piles up between source and target', async () => {
    let [given, taken, apart] = [0, 0, 0];
    const source = administering(from, () => ({
      databases: async () => [acme],
      async *export() {
        for (let index = 0; index < 5_000; index += 1) {
          given += 1;
          yield raw('state:state', 'a', String(index).padStart(5, '0'));
        }
      },
    }));
    const target = administering(to, ({ import: put }) => ({
      import: (database, rows) =>
        put(
          database,
          (async function* () {
            for await (const row of rows) {
              taken += 1;
              apart = Math.max(apart, given - taken);
              yield row;
            }
          })(),
        ),
    }));
    expect(
      await copyDatabase({ ...source, features: { shared: true } }, target, { tenant: 'acme' }),
    ).toMatchObject({ rows: 5_000 });
    expect(apart).toBeLessThanOrEqual(1);
  });
});

describe('time passes while it is copied, and', () => {
  /** Moves the clock at the first word of a step. */
  const whenItBegins = (step: CopyProgress['step'], ms: number) => ({
    onProgress: (progress: CopyProgress): void => {
      if (progress.step === step && progress.rows === 0) clock.setNow(now + ms);
    },
  });

  it('what had expired before stays behind', async () => {
    await from.administration.import(acme, [
      raw('state:state', 'a', '1', { expiresAt: now }),
      raw('state:state', 'a', '2'),
    ]);
    expect(await copyDatabase(from, to, { tenant: 'acme' })).toMatchObject({ rows: 1 });
    expect((await exported(to)).map(({ key }) => key)).toEqual(['2']);
  });

  it('what expires on the way is no difference, on whichever side it is gone first', async () => {
    const rows = [raw('state:state', 'a', '1', { expiresAt: now + 10 }), raw('state:state', 'a', '2')];
    await from.administration.import(acme, rows);
    expect(await copyDatabase(from, to, { tenant: 'acme', ...whenItBegins('comparing', 10) })).toMatchObject({
      rows: 1,
    });

    for (const late of ['source', 'target']) {
      const other = new ManualClock(now + 3 * hour);
      const [source, target] = [1, 2].map(
        (side) => new MemoryProvider({ clock: (side === 1) === (late === 'source') ? clock : other }),
      );
      if (source === undefined || target === undefined) throw new Error('There are two sides.');
      clock.setNow(now);
      await Promise.all([source.open(), target.open()]);
      await source.administration.import(acme, [
        raw('state:state', 'a', '1', { expiresAt: now + 4 * hour }),
        ...rows.slice(1),
      ]);
      const copy = copyDatabase(source, target, {
        tenant: 'acme',
        onProgress: ({ step }) => {
          if (step === 'comparing') other.setNow(now + 4 * hour);
        },
      });
      expect(await copy).toMatchObject({ rows: 1 });
    }
  });

  it('what should still be alive is missed all the same', async () => {
    await from.administration.import(acme, [
      raw('state:state', 'a', '1', { expiresAt: now + hour }),
      raw('state:state', 'a', '2'),
    ]);
    const forgetful = administering(to, ({ import: put }) => ({
      import: async (database, rows) => {
        const kept: RawRow[] = [];
        for await (const row of rows) if (row.row.expiresAt === undefined) kept.push(row);
        return await put(database, kept);
      },
    }));
    const error = await refusal(
      copyDatabase(from, forgetful, { tenant: 'acme', ...whenItBegins('comparing', 10) }),
    );
    expect(error).toMatchObject({ code: 'STORAGE_CORRUPT', place: 'tenant:acme / state:state / a / 1' });
  });
});

describe('it is refused, and nothing is written,', () => {
  beforeEach(() => from.administration.import(acme, [raw('state:state', 'a', '1')]));

  it('where the target holds something: it says what', async () => {
    const theirs = ['a', 'b', 'c', 'd'].map((entity) => raw('state:state', entity, '1', { version: '9' }));
    await to.administration.import(acme, [raw('head:order', '', '1'), ...theirs]);
    const before = await exported(to);
    const error = await refusal(copyDatabase(from, to, { tenant: 'acme' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTION', effect: 'none' });
    expect(error.message).toContain(
      `'tenant:acme' of memory holds 'head:order', 'state:state / a', 'state:state / b' and 2 more. Nothing was written.`,
    );
    expect(error.message).toContain(`ifPresent: 'replace' (kvent: --replace)`);
    expect(await exported(to)).toEqual(before);
  });

  it('where the target holds one of several databases: not even the others are begun', async () => {
    await from.administration.import('shared', [raw('state:state', 'a', '1')]);
    await to.administration.import(acme, [raw('state:state', 'b', '1')]);
    expect(await refusal(copyStorage(from, to))).toMatchObject({ code: 'INVALID_OPTION', effect: 'none' });
    expect(await to.administration.databases()).toEqual([acme]);
  });

  it('where the source has no such database: it says which it has', async () => {
    for (const name of ['b', 'c', 'd', 'e'])
      await from.administration.import(`tenant:${name}`, [raw('state:state', 'a', '1')]);
    const error = await refusal(copyDatabase(from, to, { tenant: 'acne' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTION', effect: 'none' });
    expect(error.message).toContain(
      `no database 'tenant:acne'; it has 'tenant:acme', 'tenant:b', 'tenant:c' and 2 more.`,
    );
    expect((await refusal(copyDatabase(to, from, { tenant: 'acme' }))).message).toContain('it is empty');
  });

  it('where source and target are one provider, or two doors to one place, whatever the source would lose', async () => {
    const door = { ...delegating(from), name: 'the same by another name' };
    for (const target of [from, door]) {
      const error = await refusal(copyStorage(from, target, { ifPresent: 'replace' }));
      expect(error).toMatchObject({ code: 'INVALID_OPTION', effect: 'none' });
      expect(error.message).toContain('Source and target must not be the same storage');
    }
    expect((await exported(from)).map(({ key }) => key)).toEqual(['1']);
  });

  it('where the source is itself an unfinished copy', async () => {
    const failing = administering(to, () => ({
      import: () => Promise.reject(new Error('the disk is full')),
    }));
    await refusal(copyStorage(from, failing));
    await to.administration.import(acme, [raw('state:state', 'a', '1')]);
    const third = new MemoryProvider({ clock });
    await third.open();
    const error = await refusal(copyStorage(to, third));
    expect(error).toMatchObject({ code: 'INVALID_OPTION', effect: 'none' });
    expect(error.message).toContain(
      `'tenant:acme' of memory is an unfinished copy of memory, started at 2030-01-01T00:00:00.000Z`,
    );
  });

  it('with options that it does not have, and without a tenant', async () => {
    const ask = (options: object): Promise<StorageError> => refusal(copyDatabase(from, to, options));
    expect((await ask({ tenant: 'acme', force: true })).message).toContain(
      "copyDatabase has no option 'force'; it takes ifPresent, onProgress",
    );
    expect((await ask({ tenant: 'acme', ifPresent: 'merge' })).message).toContain(
      "'refuse', 'resume' or 'replace'; got merge",
    );
    expect(await ask({ tenant: 'acme', database: acme })).toMatchObject({ code: 'INVALID_OPTION' });
    expect(await ask({})).toMatchObject({ code: 'TENANT_MISSING' });
    expect((await refusal(copyStorage(from, to, { tenant: 'acme' } as object))).message).toContain(
      "copyStorage has no option 'tenant'",
    );
    expect(await to.administration.databases()).toEqual([]);
  });

  it('with a signal that is aborted already', async () => {
    expect(await refusal(copyStorage(from, to, { signal: AbortSignal.abort() }))).toMatchObject({
      code: 'ABORTED',
      effect: 'none',
    });
    expect(await to.administration.databases()).toEqual([]);
  });
});

describe('a target that lies', () => {
  const change = (raw: RawRow, row: Partial<Row>): RawRow => ({ ...raw, row: { ...raw.row, ...row } });
  const lies: Record<string, readonly [what: string, put: (rows: readonly RawRow[]) => readonly RawRow[]]> = {
    'leaves a row out': ['state:state / product / tea is missing there', (rows) => rows.slice(0, -1)],
    'leaves the first row out': ['counter:counter / views / mug is missing there', (rows) => rows.slice(1)],
    'adds one': [
      'state:state / z / 1 is not in the source',
      (rows) => [...rows, raw('state:state', 'z', '1')],
    ],
    'gives versions of its own': [
      'counter:counter / views / mug is different there: its version is 8 instead of 4611686018427387905',
      (rows) => rows.map((row) => change(row, { version: '8' })),
    ],
    'loses a millisecond': [
      'event:order / o-1 / 2 is different there: its updatedAt is 1893452399999 instead of 1893452400000',
      (rows) =>
        rows.map((row) => (row.key === '2' ? change(row, { updatedAt: row.row.updatedAt - 1 }) : row)),
    ],
    'lets rows live for ever': [
      'mark:order / o-1 / once is different there: its expiresAt is undefined instead of 1893542400000',
      (rows) => rows.map(({ row: { expiresAt: _, ...row }, ...address }) => ({ ...address, row })),
    ],
    'formats JSON': [
      'event:order / o-1 / 1 is different there: its value',
      (rows) =>
        rows.map((each) =>
          each.row.value.kind === 'json' ? change(each, { value: { kind: 'json', text: '{"a":1}' } }) : each,
        ),
    ],
    'turns a bit of what is bytes': [
      'state:state / image / logo is different there: its value',
      (rows) =>
        rows.map((each) =>
          each.row.value.kind === 'bytes'
            ? change(each, { value: { kind: 'bytes', bytes: Uint8Array.of(0, 255, 11) } })
            : each,
        ),
    ],
    'cuts bytes off': [
      'state:state / image / logo is different there: its value',
      (rows) =>
        rows.map((each) =>
          each.row.value.kind === 'bytes'
            ? change(each, { value: { kind: 'bytes', bytes: Uint8Array.of(0, 255) } })
            : each,
        ),
    ],
    'puts a byte behind the others': [
      'state:state / image / logo is different there: its value',
      (rows) =>
        rows.map((each) =>
          each.row.value.kind === 'bytes'
            ? change(each, { value: { kind: 'bytes', bytes: Uint8Array.of(0, 255, 10, 0) } })
            : each,
        ),
    ],
    'counts one too many': [
      'head:order / o-1 is different there: its value',
      (rows) =>
        rows.map((each) =>
          each.key === 'o-1' ? change(each, { value: { kind: 'number', number: 3n } }) : each,
        ),
    ],
    'stores numbers as JSON': [
      'counter:counter / views / mug is different there: the kind of its value is json instead of number',
      (rows) =>
        rows.map((each) =>
          each.row.value.kind === 'number' ? change(each, { value: { kind: 'json', text: '3' } }) : each,
        ),
    ],
  };

  it.each(Object.entries(lies))(
    'is found out when it %s: the row is named, and the copy stays marked as unfinished',
    async (_, [what, distort]) => {
      await from.administration.import(acme, rowsOfEveryKind());
      const liar = administering(to, ({ import: put }) => ({
        import: async (database, rows) => {
          const given: RawRow[] = [];
          for await (const row of rows) given.push(row);
          return await put(database, distort(given));
        },
      }));
      const error = await refusal(copyDatabase(from, liar, { tenant: 'acme' }));
      expect(error).toMatchObject({ code: 'STORAGE_CORRUPT', effect: 'unknown', done: 11 });
      expect(error.message).toContain(`${String(error.place)} is `);
      expect(error.message).toContain(
        `The rows read back from memory are not the rows that were copied: tenant:acme / ${what}`,
      );
      expect((await refusal(copyDatabase(from, to, { tenant: 'acme' }))).message).toContain(
        'an unfinished copy of memory',
      );
    },
  );

  it('is found out when a row is written to the source while it is copied', async () => {
    await from.administration.import(acme, rowsOfEveryKind());
    const written = administering(from, (honest) => ({
      count: async () => 11,
      async *export(database) {
        yield* honest.export(database);
        await honest.import(database, [raw('state:state', 'product', 'mug', { version: '5' })]);
      },
    }));
    const error = await refusal(copyDatabase(written, to, { tenant: 'acme' }));
    expect(error).toMatchObject({
      code: 'STORAGE_CORRUPT',
      place: 'tenant:acme / state:state / product / mug',
    });
    expect(error.message).toContain('or a process wrote to one of the sides during the copy');
  });
});

describe('a copy that is broken off', () => {
  const manyRows = (): readonly RawRow[] =>
    Array.from({ length: 1_200 }, (_, index) => raw('state:state', 'a', String(index).padStart(4, '0')));

  it.each([0, 1, 499, 500, 501, 1_199, 1_200])(
    'by the target after %d rows says so, and is begun again',
    async (limit) => {
      await using file = await temporaryJsonFile({ clock });
      await file.open();
      await from.administration.import(acme, manyRows());
      const full = administering(file, ({ import: put }) => ({
        import: (database, rows) =>
          put(
            database,
            (async function* () {
              let count = 0;
              for await (const row of rows) {
                count += 1;
                yield row;
                if (count === limit) throw storageError('STORAGE_UNAVAILABLE', 'The disk is full.', {});
              }
              throw storageError('STORAGE_UNAVAILABLE', 'The disk is full.', {});
            })(),
          ),
      }));
      const error = await refusal(copyStorage(from, full));
      expect(error).toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        effect: 'unknown',
        done: limit === 0 ? 1_200 : limit,
      });
      expect(error.message).toMatch(
        /^The copy from memory to JSON file \S+ was interrupted after \d+ rows: The disk is full\. The source was not changed; .* To continue: ifPresent: 'resume' \(kvent: --resume\)\.$/,
      );
      expect((await refusal(copyStorage(from, file))).message).toContain("ifPresent: 'resume'");
      expect((await exported(from)).length).toBe(1_200);

      expect(await copyStorage(from, file, { ifPresent: 'resume' })).toMatchObject({
        rows: 1_200,
        databases: [{ outcome: 'copied' }],
      });
      expect(await exported(file)).toEqual(manyRows());
    },
  );

  it('at any call to either side leaves nothing behind that could be taken for a copy, and can be resumed', async () => {
    await from.administration.import(acme, rowsOfEveryKind());
    await from.administration.import(globex, [raw('state:state', 'a', '1')]);
    const want = [await exported(from, acme), await exported(from, globex)];
    let calls = 0;
    for (let n = 1; n === 1 || calls >= n - 1; n += 1) {
      to = new MemoryProvider({ clock });
      await to.open();
      calls = 0;
      const fails = (): void => {
        calls += 1;
        if (calls === n) throw new TypeError('the n-th call');
      };
      const outcome = await copyStorage(failing(from, fails), failing(to, fails)).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (outcome === undefined) expect(calls).toBe(n - 1);
      else {
        // nothing, or something that says that it is unfinished
        const written = await to.administration.databases();
        const expected = written.length === 0 ? 'the n-th call' : 'the n-th call The source was not changed';
        expect((outcome as Error).message).toContain(expected);
        for (const database of written)
          expect([...(await exported(to, database)).map(({ container }) => container), database]).toContain(
            isWhole(await exported(to, database), want[written.indexOf(database)])
              ? database
              : 'copy:unfinished',
          );
        await copyStorage(from, to, { ifPresent: 'resume' });
      }
      expect([await exported(to, acme), await exported(to, globex)]).toEqual(want);
    }
    expect(calls).toBeGreaterThan(20);
  });

  const isWhole = (rows: readonly RawRow[], want: readonly RawRow[] | undefined): boolean =>
    JSON.stringify(rows, big) === JSON.stringify(want, big);
  const big = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

  /** Throws on demand, before each call. */
  function failing(provider: StorageProvider, before: () => void): StorageProvider {
    const guarded = <A extends readonly unknown[], R>(work: (...given: A) => Promise<R>) => {
      return async (...given: A): Promise<R> => {
        before();
        return await work(...given);
      };
    };
    const { administration } = provider;
    return {
      ...delegating(provider),
      read: guarded(provider.read.bind(provider)),
      commit: guarded(provider.commit.bind(provider)),
      administration: {
        databases: guarded(administration.databases),
        spaces: guarded(administration.spaces),
        import: guarded(administration.import),
        drop: guarded(administration.drop),
        async *export(database) {
          before();
          yield* administration.export(database);
          before();
        },
      },
    };
  }

  it('by its signal, while it copies or compares, stops at the next row, and can be resumed', async () => {
    await from.administration.import(acme, manyRows());
    for (const step of ['copying', 'comparing']) {
      const abort = new AbortController();
      const onProgress = (progress: CopyProgress): void => {
        if (progress.step === step && progress.rows === 500) abort.abort(new Error('enough'));
      };
      const error = await refusal(
        copyStorage(from, to, { ifPresent: 'resume', signal: abort.signal, onProgress }),
      );
      expect(error).toMatchObject({
        code: 'ABORTED',
        effect: 'unknown',
        done: step === 'copying' ? 500 : 1_200,
      });
      expect(error.message).toContain('rows: its caller aborted it. The source was not changed');
    }
    expect(await copyStorage(from, to, { ifPresent: 'resume' })).toMatchObject({ rows: 1_200 });
  });
});

describe('ifPresent', () => {
  beforeEach(async () => {
    await from.administration.import(acme, rowsOfEveryKind());
    await from.administration.import(globex, [raw('state:state', 'a', '1')]);
  });

  it("'resume' leaves what is there and the same, and copies what is missing", async () => {
    const first = await copyDatabase(from, to, { tenant: 'acme' });
    let dropped = 0;
    const target = administering(to, ({ drop }) => ({
      drop: (database) => {
        dropped += 1;
        return drop(database);
      },
    }));
    const { databases } = await copyStorage(from, target, { ifPresent: 'resume' });
    expect(databases.map(({ database, outcome, rows }) => [database, outcome, rows])).toEqual([
      [acme, 'there already', 11],
      [globex, 'copied', 1],
    ]);
    expect({ ...databases[0], outcome: 'copied' }).toEqual(first);
    expect(dropped).toBe(0);
  });

  it("'resume' touches nothing of what is there and another", async () => {
    await copyDatabase(from, to, { tenant: 'globex' });
    await to.administration.import(globex, [raw('state:state', 'b', '1')]);
    const before = await exported(to, globex);
    const error = await refusal(copyStorage(from, to, { ifPresent: 'resume' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTION', effect: 'none' });
    expect(error.message).toContain(
      'The target is neither empty nor equal to the source: tenant:globex / state:state / b / 1 is not in',
    );
    expect(await exported(to, globex)).toEqual(before);
    expect(await to.administration.databases()).toEqual([globex]);
  });

  it("'replace' drops what is there, unfinished or not, and nothing of other databases", async () => {
    const theirs = [
      raw('state:state', 'z', '1'),
      raw('copy:unfinished', '', 'copy', { value: { kind: 'json', text: '{"from":"x","startedAt":0}' } }),
    ];
    await to.administration.import(acme, theirs);
    await to.administration.import('tenant:hooli', [raw('state:state', 'z', '1')]);
    await copyStorage(from, to, { ifPresent: 'replace' });
    expect(await exported(to, acme)).toEqual(rowsOfEveryKind());
    expect(await to.administration.databases()).toEqual([acme, globex, 'tenant:hooli']);
  });
});

describe('a source that several processes write to', () => {
  /** Notes the order in which things happen. */
  function shared(log: string[], verify: () => Promise<void> = async () => undefined): StorageProvider {
    return {
      ...administering(from, (honest) => ({
        export: (database) => {
          log.push('export');
          return honest.export(database);
        },
        count: async () => 7,
        freeze: async (database) => {
          log.push(`freeze ${String(database)}`);
          return {
            verify: async () => {
              log.push('verify');
              await verify();
            },
            [Symbol.asyncDispose]: async () => void log.push('let go'),
          };
        },
      })),
      features: { ...from.features, shared: true },
    };
  }
  beforeEach(() => from.administration.import(acme, [raw('state:state', 'a', '1')]));

  it('is frozen while it is read, one database or all, and asked whether it was before the copy counts as whole', async () => {
    const log: string[] = [];
    const target = {
      ...delegating(to),
      commit: (...given: Parameters<StorageProvider['commit']>) => (log.push('mark'), to.commit(...given)),
    };
    await copyDatabase(shared(log), target, { tenant: 'acme' });
    expect(log).toEqual(['freeze tenant:acme', 'mark', 'export', 'export', 'verify', 'mark', 'let go']);
    log.length = 0;
    await copyStorage(shared(log), to, { ifPresent: 'resume' });
    expect(log).toEqual(['freeze undefined', 'export', 'verify', 'let go']);
  });

  it('is not frozen when the copy is refused', async () => {
    const log: string[] = [];
    await to.administration.import(acme, [raw('state:state', 'b', '1')]);
    await refusal(copyStorage(shared(log), to));
    expect(log).toEqual([]);
  });

  it('is let go when the copy fails; and where the freeze did not hold, the copy stays unfinished', async () => {
    const log: string[] = [];
    const lost = storageError('STORAGE_UNAVAILABLE', 'The connection that held it was lost.', {});
    const error = await refusal(
      copyStorage(
        shared(log, () => Promise.reject(lost)),
        to,
      ),
    );
    expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'unknown' });
    expect(log.at(-1)).toBe('let go');
    expect((await refusal(copyStorage(from, to))).message).toContain('an unfinished copy');
  });

  it('is counted by itself: no rows are read for a progress bar', async () => {
    const log: string[] = [];
    const totals = new Set<number | undefined>();
    await copyStorage(shared(log), to, {
      onProgress: ({ step, total }) => void (step === 'copying' && totals.add(total)),
    });
    expect([...totals]).toEqual([7]);
    expect(log.filter((each) => each === 'export')).toHaveLength(2);
  });
});

describe('progress', () => {
  it('reports each database and step: how many rows, of how many, and where', async () => {
    await from.administration.import(
      acme,
      Array.from({ length: 501 }, (_, index) => raw('state:state', 'a', String(index).padStart(3, '0'))),
    );
    await from.administration.import(globex, [raw('state:state', 'b', '1')]);
    const reported: CopyProgress[] = [];
    await copyStorage(from, to, { onProgress: (progress) => void reported.push(progress) });
    expect(
      reported.map(
        ({ step, database, number, databases, rows, total }) =>
          `${step} ${database} ${number}/${databases} ${rows}/${total}`,
      ),
    ).toEqual(
      ['copying', 'comparing'].flatMap((step) => [
        `${step} tenant:acme 1/2 0/501`,
        `${step} tenant:acme 1/2 500/501`,
        `${step} tenant:acme 1/2 501/501`,
        `${step} tenant:globex 2/2 0/1`,
        `${step} tenant:globex 2/2 1/1`,
      ]),
    );
    expect(reported.map(({ space }) => space?.entity)).toEqual([
      undefined,
      'a',
      'a',
      undefined,
      'b',
      undefined,
      'a',
      'a',
      undefined,
      'b',
    ]);
  });

  it('breaks nothing when the listener throws', async () => {
    await from.administration.import(acme, [raw('state:state', 'a', '1')]);
    const onProgress = (): void => {
      throw new Error('no ears');
    };
    expect(await copyStorage(from, to, { onProgress })).toMatchObject({ rows: 1 });
  });
});

it('a storage that was opened for its stores can be handed over too', async () => {
  const Products = defineState<{ title: string }>('product');
  const [source, target] = [new MemoryProvider(), new MemoryProvider()];
  await using one = await openStorage(source);
  await using two = await openStorage(target);
  await one.store(Products).set('mug', { title: 'Mug' });
  await copyStorage(source, target);
  expect((await two.store(Products).getOrThrow('mug')).value).toEqual({ title: 'Mug' });
});
