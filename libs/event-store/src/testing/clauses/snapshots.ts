/** Snapshots: loads start at them, and everything holds without them. */
import assert from 'node:assert/strict';
import { changesBatches, changesPages, assertRejects } from '@kvent/key-value-storage/testing';
import { added, KeptLedger, LaterLedger, many } from '../kit/ledger.js';
import { countScans } from './reading.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';
import { unreadable } from '../kit/stream-subject.js';

const keepsNone = throughProvider(
  changesBatches('keeps no snapshots', (batch) => ({
    ...batch,
    changes: batch.changes.filter(({ address }) => !address.container.startsWith('snapshot:')),
  })),
);
const trustsAny = throughProvider(
  changesPages('answers another snapshot than it holds', (page, range) =>
    range.container.startsWith('snapshot:')
      ? {
          ...page,
          rows: page.rows.map(({ key, row }) => ({
            key,
            row: { ...row, value: { kind: 'json', text: '{"sum":-1,"count":-1}' } },
          })),
        }
      : page,
  ),
);

export const snapshotClauses: readonly StreamClause[] = [
  {
    name: 'A snapshot at a version, and loads begin there: the snapshot and what came after.',
    broken: trustsAny,
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(30), { expectedVersion: 0 });
      assert.equal(await ledger.snapshot('a', { atVersion: 20 }), 20);
      assert.deepEqual((await ledger.load('a')).state, { sum: 30, count: 30 });
      assert.deepEqual(await ledger.snapshotVersions('a'), [20]);
      assert.equal(await ledger.snapshot('a'), 30);
      assert.deepEqual(await ledger.snapshotVersions('a'), [20, 30]);
      // the snapshot is what is used: another state in it is what comes out
      await subject.spoil('snapshot', () => '{"sum":1000,"count":0}');
      await ledger.append('a', [added(5)], { expectedVersion: 30 });
      assert.deepEqual((await ledger.load('a')).state, { sum: 1_005, count: 1 });
    },
  },
  {
    name: 'Several snapshots are listed in order, each once; the newest is used, and at a version the newest not later than it.',
    broken: breaksStream('use the newest always', (stream) => ({
      load: async (id, options) => {
        const newest = await stream.load(id);
        return options?.atVersion === undefined ? newest : { ...newest, version: options.atVersion };
      },
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(50), { expectedVersion: 0 });
      for (const atVersion of [40, 10, 20, 10, 40]) await ledger.snapshot('a', { atVersion });
      assert.deepEqual(await ledger.snapshotVersions('a'), [10, 20, 40]);
      await subject.spoil('snapshot', (_text, index) => `{"sum":${(index + 1) * 1_000},"count":0}`);
      for (const [atVersion, sum] of [
        [5, 5],
        [10, 1_000],
        [19, 1_009],
        [20, 2_000],
        [39, 2_019],
        [40, 3_000],
        [50, 3_010],
      ] as const)
        assert.equal((await ledger.load('a', { atVersion })).state.sum, sum, `at version ${atVersion}`);
      assert.equal((await ledger.load('a')).state.sum, 3_010);
    },
  },
  {
    name: 'An append that crosses a multiple of `every` leaves a snapshot at the version it reached.',
    broken: keepsNone,
    async run(subject) {
      const kept = subject.stream(KeptLedger);
      await kept.transact('a', () => many(9));
      await kept.transact('a', () => many(1));
      await kept.transact('a', () => many(25));
      assert.deepEqual(await kept.snapshotVersions('a'), [10, 35]);
      // an append that has not loaded the stream writes it afterwards
      await kept.append('b', many(12), { expectedVersion: 0 });
      await subject.store.idle();
      assert.deepEqual(await kept.snapshotVersions('b'), [12]);
      await subject.spoil('snapshot', () => '{"sum":500,"count":0}');
      assert.deepEqual([(await kept.load('a')).state.sum, (await kept.load('b')).state.sum], [500, 500]);
      assert.equal(subject.told('snapshot created').length, 3);
    },
  },
  {
    name: 'A snapshot beyond the stream is refused, and so is one of nothing.',
    broken: breaksStream('keep what is there', (stream) => ({
      snapshot: async (id) => await stream.snapshot(id).catch(() => 0),
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(3), { expectedVersion: 0 });
      const error = await assertRejects('STREAM_VERSION_NOT_FOUND', 'snapshot', () =>
        ledger.snapshot('a', { atVersion: 4 }),
      );
      assert.deepEqual({ ...error, stream: 'ledger/a', version: 4 }, { ...error });
      await assertRejects('STREAM_NOT_FOUND', 'snapshot', () => ledger.snapshot('none'));
      assert.deepEqual(await ledger.snapshotVersions('a'), []);
      // one that stands there all the same, as a careless restore leaves it, is not used
      await ledger.append('longer', many(9), { expectedVersion: 0 });
      await ledger.snapshot('longer');
      const [row] = await subject.rows('snapshot');
      assert.ok(row !== undefined);
      const beyond = {
        ...row,
        entity: row.entity.replace('longer', 'a'),
        row: { ...row.row, value: { kind: 'json', text: '{"sum":-1,"count":-1}' } as const },
      };
      await subject.provider.administration.import(subject.database, [beyond]);
      assert.deepEqual((await ledger.load('a')).state, { sum: 3, count: 3 });
    },
  },
  {
    name: 'One snapshot cleared: it is gone from the list, and loads fall back to the one before; all cleared: everything is replayed.',
    broken: breaksStream('clear nothing', (stream) => ({
      clearSnapshots: async (id, options) =>
        options === undefined ? (await stream.snapshotVersions(id)).length : 1,
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(30), { expectedVersion: 0 });
      await ledger.snapshotAll('a', { every: 10 });
      await subject.spoil('snapshot', (_text, index) => `{"sum":${(index + 1) * 1_000},"count":0}`);
      assert.equal(await ledger.clearSnapshots('a', { version: 30 }), 1);
      assert.deepEqual(
        [await ledger.snapshotVersions('a'), (await ledger.load('a')).state.sum],
        [[10, 20], 2_010],
      );
      const error = await assertRejects('SNAPSHOT_NOT_FOUND', 'clearSnapshots', () =>
        ledger.clearSnapshots('a', { version: 30 }),
      );
      assert.deepEqual({ ...error, stream: 'ledger/a', version: 30 }, { ...error });
      await assertRejects('INVALID_OPTION', 'clearSnapshots', () =>
        ledger.clearSnapshots('a', { version: undefined } as never),
      );
      assert.equal(await ledger.clearSnapshots('a'), 2);
      assert.deepEqual([await ledger.snapshotVersions('a'), (await ledger.load('a')).state.sum], [[], 30]);
    },
  },
  {
    name: 'A snapshot that meets a deletion on its way is not kept.',
    broken: throughProvider(
      changesBatches('does not look whether the stream is there', (batch) => ({
        ...batch,
        checks: batch.checks.filter(({ address }) => !address.container.startsWith('event:')),
      })),
    ),
    async run(subject) {
      const { ledger, provider } = subject;
      await ledger.append('a', many(5), { expectedVersion: 0 });
      const { scan } = provider;
      let first = true;
      // the stream is deleted between the loading and the keeping
      const scanned: typeof scan = async (...given) => {
        const pages = await scan.apply(provider, given);
        if (first) {
          first = false;
          assert.equal(await ledger.delete('a'), true);
        }
        return pages;
      };
      Object.assign(provider, { scan: scanned });
      await assertRejects('STREAM_DELETED', 'snapshot', () => ledger.snapshot('a'));
      assert.deepEqual(await subject.rows('snapshot'), []);
    },
  },
  {
    name: 'Snapshots of everything: in one pass, at k, 2k, 3k …, each of the events up to it.',
    broken: breaksStream('fold each chunk alone', (stream) => ({
      snapshotAll: async (id, { every }) => {
        const version = await stream.version(id);
        await stream.snapshot(id, { atVersion: every });
        return Array.from({ length: Math.floor(version / every) }, (_, index) => (index + 1) * every);
      },
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append(
        'a',
        Array.from({ length: 35 }, (_, index) => added(index + 1)),
        { expectedVersion: 0 },
      );
      assert.deepEqual(await ledger.snapshotAll('a', { every: 10 }), [10, 20, 30]);
      assert.deepEqual(await ledger.snapshotVersions('a'), [10, 20, 30]);
      const states = (await subject.rows('snapshot')).map(
        ({ row }) => JSON.parse(row.value.kind === 'json' ? row.value.text : 'null') as unknown,
      );
      assert.deepEqual(
        states,
        [10, 20, 30].map((count) => ({ sum: (count * (count + 1)) / 2, count })),
      );
      for (const every of [0, -1, 1.5, undefined])
        await assertRejects('INVALID_OPTION', 'snapshotAll', () =>
          ledger.snapshotAll('a', { every } as never),
        );
      await assertRejects('STREAM_NOT_FOUND', 'snapshotAll', () => ledger.snapshotAll('none', { every: 10 }));
    },
  },
  {
    name: 'A snapshot that cannot be read gives way to the next older, and to a full replay, with a warning.',
    broken: breaksStream('fail with the snapshot', (stream, { rows }) => ({
      load: async (id, options) => {
        for (const { row } of await rows('snapshot').catch(() => []))
          if (row.value.kind === 'json') JSON.parse(row.value.text);
        return await stream
          .load(id, options)
          .then(() => ({ id, state: { sum: -1, count: -1 }, version: -1 }));
      },
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(30), { expectedVersion: 0 });
      await ledger.snapshotAll('a', { every: 10 });
      await subject.spoil('snapshot', (_text, index) => (index === 2 ? unreadable : '{"sum":500,"count":0}'));
      assert.equal((await ledger.load('a')).state.sum, 510);
      assert.deepEqual(
        subject.told('snapshot ignored').map(({ version, id }) => [version, id]),
        [[30, 'a']],
      );
      await subject.spoil('snapshot', () => unreadable);
      assert.deepEqual((await ledger.load('a')).state, { sum: 30, count: 30 });
    },
  },
  {
    name: 'Snapshots of another schemaVersion are left alone and not used; both releases keep their own.',
    broken: trustsAny,
    async run(subject) {
      const [kept, later] = [subject.stream(KeptLedger), subject.stream(LaterLedger)];
      await kept.transact('a', () => many(25));
      assert.deepEqual((await later.load('a')).state, { sum: 25, count: 25 });
      assert.equal(subject.told('snapshot ignored').length, 1);
      assert.deepEqual(await later.snapshotVersions('a'), []);
      await later.snapshot('a');
      assert.deepEqual([await kept.snapshotVersions('a'), await later.snapshotVersions('a')], [[25], [25]]);
      assert.deepEqual((await kept.load('a')).state, { sum: 25, count: 25 });
      assert.equal((await subject.rows('snapshot')).length, 2);
    },
  },
  {
    name: 'A long stream with snapshots is loaded with few rows, however long it is.',
    broken: keepsNone,
    async run(subject) {
      const kept = subject.stream(KeptLedger);
      for (let turn = 0; turn < 10; turn += 1) await kept.transact('a', () => many(100));
      await kept.append('a', many(5), { expectedVersion: 1_000 });
      const counted = countScans(subject.provider);
      assert.deepEqual((await kept.load('a')).state, { sum: 1_005, count: 1_005 });
      assert.ok(
        counted.rows <= 40,
        `${counted.rows} rows were read to load a stream whose snapshot is 5 events old`,
      );
    },
  },
];
