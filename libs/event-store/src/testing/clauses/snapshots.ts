/**
 * The law of snapshots: they change the cost of a load, never its result. A load starts from the
 * newest usable snapshot, and without one it replays all events. So snapshots may be lost, damaged
 * or of another release. The clauses change the stored states, so that it shows which one was used.
 */
import assert from 'node:assert/strict';
import { changesBatches, changesPages, assertRejects } from '@kvent/key-value-storage/testing';
import { added, KeptLedger, LaterLedger, many } from '../kit/ledger.js';
import { countScans } from './reading.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';
import { unreadable } from '../kit/stream-subject.js';

const keepsNone = throughProvider(
  changesBatches('stores no snapshots', (batch) => ({
    ...batch,
    changes: batch.changes.filter(({ address }) => !address.container.startsWith('snapshot:')),
  })),
);
const trustsAny = throughProvider(
  changesPages('returns other snapshots than it stores', (page, range) =>
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
    name: 'A load starts from the snapshot, and reads only the events after it.',
    broken: trustsAny,
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(30), { expectedVersion: 0 });
      assert.equal(await ledger.snapshot('a', { atVersion: 20 }), 20);
      assert.deepEqual((await ledger.load('a')).state, { sum: 30, count: 30 });
      assert.deepEqual(await ledger.snapshotVersions('a'), [20]);
      assert.equal(await ledger.snapshot('a'), 30);
      assert.deepEqual(await ledger.snapshotVersions('a'), [20, 30]);
      // the load uses the snapshot: the changed state is the result
      await subject.damageRows('snapshot', () => '{"sum":1000,"count":0}');
      await ledger.append('a', [added(5)], { expectedVersion: 30 });
      assert.deepEqual((await ledger.load('a')).state, { sum: 1_005, count: 1 });
    },
  },
  {
    name: 'Snapshots are listed in order, each once; a load uses the newest, or at a version the newest that is not later.',
    broken: breaksStream('use the newest in any case', (stream) => ({
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
      await subject.damageRows('snapshot', (_text, index) => `{"sum":${(index + 1) * 1_000},"count":0}`);
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
    name: 'An append that crosses a multiple of `every` writes a snapshot at the version it reached.',
    broken: keepsNone,
    async run(subject) {
      const kept = subject.stream(KeptLedger);
      await kept.transact('a', () => many(9));
      await kept.transact('a', () => many(1));
      await kept.transact('a', () => many(25));
      assert.deepEqual(await kept.snapshotVersions('a'), [10, 35]);
      // an append that has not loaded the stream writes it in the background
      await kept.append('b', many(12), { expectedVersion: 0 });
      await subject.store.idle();
      assert.deepEqual(await kept.snapshotVersions('b'), [12]);
      await subject.damageRows('snapshot', () => '{"sum":500,"count":0}');
      assert.deepEqual([(await kept.load('a')).state.sum, (await kept.load('b')).state.sum], [500, 500]);
      assert.equal(subject.entriesOf('snapshot created').length, 3);
    },
  },
  {
    name: "A snapshot above the stream's version is refused, and so is one of an unknown stream.",
    broken: breaksStream('accept any version', (stream) => ({
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
      // a snapshot above the version, as a faulty restore may leave it, is not used
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
    name: 'After one snapshot is cleared, loads use the one before; after all are cleared, loads replay all events.',
    broken: breaksStream('clear nothing', (stream) => ({
      clearSnapshots: async (id, options) =>
        options === undefined ? (await stream.snapshotVersions(id)).length : 1,
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(30), { expectedVersion: 0 });
      await ledger.snapshotAll('a', { every: 10 });
      await subject.damageRows('snapshot', (_text, index) => `{"sum":${(index + 1) * 1_000},"count":0}`);
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
    name: 'A snapshot of a stream that is deleted at the same time is not stored.',
    broken: throughProvider(
      changesBatches('does not check that the stream exists', (batch) => ({
        ...batch,
        checks: batch.checks.filter(({ address }) => !address.container.startsWith('event:')),
      })),
    ),
    async run(subject) {
      const { ledger, provider } = subject;
      await ledger.append('a', many(5), { expectedVersion: 0 });
      const { scan } = provider;
      let first = true;
      // the stream is deleted between the load and the write
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
    name: '`snapshotAll` stores snapshots at k, 2k, 3k … in one pass.',
    broken: breaksStream('fold each part separately', (stream) => ({
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
    name: 'When a snapshot cannot be read, the next older one is used, at last a full replay, with a log entry.',
    broken: breaksStream('fail when a snapshot is unreadable', (stream, { rows }) => ({
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
      await subject.damageRows('snapshot', (_text, index) =>
        index === 2 ? unreadable : '{"sum":500,"count":0}',
      );
      assert.equal((await ledger.load('a')).state.sum, 510);
      assert.deepEqual(
        subject.entriesOf('snapshot ignored').map(({ version, id }) => [version, id]),
        [[30, 'a']],
      );
      await subject.damageRows('snapshot', () => unreadable);
      assert.deepEqual((await ledger.load('a')).state, { sum: 30, count: 30 });
    },
  },
  {
    name: 'Snapshots of another schemaVersion are neither used nor changed: both releases keep their own.',
    broken: trustsAny,
    async run(subject) {
      const [kept, later] = [subject.stream(KeptLedger), subject.stream(LaterLedger)];
      await kept.transact('a', () => many(25));
      assert.deepEqual((await later.load('a')).state, { sum: 25, count: 25 });
      assert.equal(subject.entriesOf('snapshot ignored').length, 1);
      assert.deepEqual(await later.snapshotVersions('a'), []);
      await later.snapshot('a');
      assert.deepEqual([await kept.snapshotVersions('a'), await later.snapshotVersions('a')], [[25], [25]]);
      assert.deepEqual((await kept.load('a')).state, { sum: 25, count: 25 });
      assert.equal((await subject.rows('snapshot')).length, 2);
    },
  },
  {
    name: 'Loading a stream with snapshots reads few rows, however long the stream is.',
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
