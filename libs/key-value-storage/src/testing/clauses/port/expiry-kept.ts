/**
 * Law 6, expiry: which write sets an expiry, which keeps it, and what a renewal changes. An update
 * of a value must not prolong a session, and a renewal must not change an etag: these rules decide
 * it for every store.
 */
import assert from 'node:assert/strict';
import type { Address } from '../../../provider.js';
import { breaks, changesResults, changesChanges, commitOne } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { check, put, remove, renew, rowAddress, sum } from '../../kit/batches.js';

const law = 6;
const hour = 3_600_000;

export const keptExpiryClauses: readonly Clause[] = [
  {
    name: 'A write without a TTL makes a row permanent, a TTL counts from the write, and reading changes neither.',
    law,
    capability: 'clock',
    broken: changesChanges('keeps the old expiry if a write has no TTL', (change) =>
      change.kind === 'put' && change.ttl === 'never' ? { ...change, ttl: { keepElse: 'never' } } : change,
    ),
    async run(subject) {
      const [permanent, again, read] = [
        subject.address('permanent'),
        subject.address('again'),
        subject.address('read'),
      ];
      for (const address of [permanent, again, read]) await subject.putRow(address, '1', 1_000);
      await subject.clock.advance(600);
      await subject.putRow(permanent, '2');
      await subject.putRow(again, '2', 1_000);
      await subject.readRow(read);
      await subject.clock.advance(400);
      assert.deepEqual(await subject.scanKeys(), ['again', 'permanent']);
      await subject.clock.advance(600);
      assert.deepEqual(await subject.scanKeys(), ['permanent']);
      await subject.clock.advance(1_000 * hour);
      assert.deepEqual(await subject.scanKeys(), ['permanent']);
    },
  },
  {
    name: '‘keepElse’ keeps the expiry of a live row, also none; for an absent or expired row its own TTL applies.',
    law,
    capability: 'clock',
    broken: changesChanges('restarts an expiry that must be kept', (change) =>
      change.kind === 'put' && typeof change.ttl === 'object'
        ? { ...change, ttl: change.ttl.keepElse }
        : change,
    ),
    async run(subject) {
      const [short, forever, fresh] = [
        subject.address('short'),
        subject.address('forever'),
        subject.address('fresh'),
      ];
      const { time } = await subject.mustCommit({ changes: [put(short, '1', 1_000), put(forever, '1')] });
      await subject.clock.advance(900);
      const now = time + 900;
      const { rows } = await subject.mustCommit({
        changes: [short, forever, fresh].map((address) => put(address, '2', { keepElse: 5_000 })),
      });
      assert.deepEqual(rows, [
        { existed: true, expiresAt: time + 1_000 },
        { existed: true },
        { existed: false, expiresAt: now + 5_000 },
      ]);
      assert.equal((await subject.readRow(short))?.ttlMs, 1_000);
      await subject.clock.advance(100);
      assert.deepEqual(
        (await subject.mustCommit({ changes: [put(short, '3', { keepElse: 'never' })] })).rows,
        [{ existed: false }],
      );
    },
  },
  {
    name: '‘keepElse’ with ‘of’ gives a row the expiry of another row of the batch, as it is before the batch; without that row its own TTL applies.',
    law,
    capability: 'clock',
    broken: changesChanges('keeps the expiry of the written row', (change) =>
      change.kind === 'put' && typeof change.ttl === 'object'
        ? { ...change, ttl: { keepElse: change.ttl.keepElse } }
        : change,
    ),
    async run(subject) {
      const [short, forever, gone] = ['short', 'forever', 'gone'].map((key) => subject.address(key)) as [
        Address,
        Address,
        Address,
      ];
      const copies = ['copy', 'copy of none', 'copy of gone', 'copy of a check'].map((key) =>
        subject.address(key),
      ) as [Address, Address, Address, Address];
      const version = await subject.putRow(forever, '1');
      const { time } = await subject.mustCommit({
        changes: [put(short, '1', 1_000), put(gone, '1', 100), put(copies[0], '0', 50_000)],
      });
      await subject.clock.advance(100);
      const now = time + 100;
      const like = (of: Address) => ({ keepElse: 9_000, of: rowAddress(of) });
      const { rows } = await subject.mustCommit({
        checks: [check(forever, version)],
        changes: [
          put(copies[0], '2', like(short)),
          put(short, '2', 7_000),
          put(copies[1], '2', like(forever)),
          remove(gone),
          put(copies[2], '2', like(gone)),
          put(copies[3], '2', like(short)),
        ],
      });
      assert.deepEqual(rows, [
        { existed: true, expiresAt: time + 1_000 },
        { existed: true, expiresAt: now + 7_000 },
        { existed: false },
        { existed: false },
        { existed: false, expiresAt: now + 9_000 },
        { existed: false, expiresAt: time + 1_000 },
      ]);
      const copy = await subject.readRow(copies[0]);
      assert.deepEqual([copy?.ttlMs, copy?.expiresAt], [1_000, time + 1_000]);
      assert.equal((await subject.readRow(copies[1]))?.expiresAt, undefined);
      await subject.clock.advance(900);
      assert.deepEqual(await subject.scanKeys(), ['copy of gone', 'copy of none', 'forever', 'short']);
    },
  },
  {
    name: 'A numeric change keeps the expiry of the row; its TTL applies only if it creates the row.',
    law,
    capability: 'clock',
    broken: breaks('removes the expiry of a changed number', (provider) => ({
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        for (const { changes, ...batch } of batches) {
          for (const { kind, address } of changes) {
            if (kind !== 'sum') continue;
            const { rows } = await provider.read([{ ...address, database: batch.database }]);
            if (rows[0]?.value.kind === 'number')
              await commitOne(provider, { ...batch, checks: [], changes: [put(address, rows[0].value)] });
          }
        }
        return results;
      },
    })),
    async run(subject) {
      const [limited, forever] = [subject.address('limited'), subject.address('forever')];
      const { time } = await subject.mustCommit({
        changes: [sum(limited, 1, { ttlMs: 1_000 }), sum(forever, 1)],
      });
      await subject.clock.advance(999);
      const { rows } = await subject.mustCommit({
        changes: [sum(limited, 1, { ttlMs: 5_000 }), sum(forever, 1, { ttlMs: 5_000 })],
      });
      assert.deepEqual(rows, [
        { existed: true, number: 2n, expiresAt: time + 1_000 },
        { existed: true, number: 2n },
      ]);
      assert.equal((await subject.readRow(limited))?.ttlMs, 1_000);
      await subject.clock.advance(1);
      assert.deepEqual([await subject.readRow(limited), await subject.readNumber(forever)], [undefined, 2n]);
      assert.deepEqual((await subject.mustCommit({ changes: [sum(limited, 1, { ttlMs: 5_000 })] })).rows, [
        { existed: false, number: 1n, expiresAt: time + 6_000 },
      ]);
    },
  },
  {
    name: 'A renewal moves an expiry forward from now and never back, and adds none to a row without one.',
    law,
    capability: 'clock',
    broken: breaks('moves an expiry back', (provider) => ({
      commit: (batches, options) =>
        provider.commit(
          batches.map((batch) => ({
            ...batch,
            changes: batch.changes.map((change) =>
              change.kind === 'renew' ? put(change.address, '1', change.ttlMs) : change,
            ),
          })),
          options,
        ),
    })),
    async run(subject) {
      const [address, forever] = [subject.address('one'), subject.address('forever')];
      const [version, other] = [
        await subject.putRow(address, '1', 1_000),
        await subject.putRow(forever, '1'),
      ];
      const start = subject.clock.now();
      await subject.clock.advance(500);
      for (const [ttlMs, expected] of [
        [400, 1_000],
        [500, 1_000],
        [501, 1_001],
        [2_000, 2_500],
        [1_000, 2_500],
      ] as const) {
        const { rows } = await subject.mustCommit({
          checks: [check(address, version)],
          changes: [renew(address, ttlMs)],
        });
        assert.deepEqual(rows, [{ existed: true, expiresAt: start + expected }], `renewed with ${ttlMs}`);
      }
      assert.equal((await subject.readRow(address))?.ttlMs, 1_000, 'what it was written with stays');
      assert.deepEqual(
        (await subject.mustCommit({ checks: [check(forever, other)], changes: [renew(forever, 1)] })).rows,
        [{ existed: true }],
      );
      await subject.clock.advance(1_999);
      assert.deepEqual(await subject.scanKeys(), ['forever', 'one']);
      await subject.clock.advance(1);
      assert.deepEqual(await subject.scanKeys(), ['forever']);
    },
  },
  {
    name: 'The result of a commit has the current expiry of the row, also if it was kept.',
    law,
    capability: 'clock',
    broken: changesResults('omits expiries', (result) =>
      result.outcome === 'committed'
        ? { ...result, rows: result.rows.map(({ expiresAt: _, ...row }) => row) }
        : result,
    ),
    async run(subject) {
      const address = subject.address('one');
      const { time } = await subject.mustCommit({ changes: [put(address, '1', 1_000)] });
      await subject.clock.advance(10);
      assert.deepEqual((await subject.mustCommit({ changes: [put(address, '2', { keepElse: 9 })] })).rows, [
        { existed: true, expiresAt: time + 1_000 },
      ]);
    },
  },
];
