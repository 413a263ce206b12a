/**
 * Random operations on every provider and on a plain Map: batches of all kinds, reads, pages, steps
 * of the clock, sweeps, and restarts of durable providers. fast-check shrinks a failure and prints
 * its seed; `KVENT_SEED=<seed> npm run jest -- test/contract/model` repeats it.
 */
import { describe, expect, test } from '@jest/globals';
import type { Batch, Change, Check } from '@kvent/key-value-storage/provider';
import { Subject } from '@kvent/key-value-storage/testing';
import fc from 'fast-check';
import { providers } from '../providers.js';
import { seedOfRun } from '../seed.mjs';
import { modelResultOf, Model } from './model.js';

const seed = seedOfRun();
const runs = Number(process.env['KVENT_RUNS'] ?? 40);

type Step =
  | {
      readonly step: 'commit';
      readonly checks: readonly (Omit<Check, 'address'> & { key: string })[];
      readonly changes: readonly Change[];
    }
  | {
      readonly step: 'known';
      readonly key: string;
      readonly stale: boolean;
      readonly changes: readonly Change[];
    }
  | {
      readonly step: 'page';
      readonly range: { start?: string; end?: string; after?: string };
      readonly reverse: boolean;
      readonly limit: number;
    }
  | { readonly step: 'advance'; readonly ms: number }
  | { readonly step: 'sweep'; readonly limit: number }
  | { readonly step: 'reopen' };

const keys = ['a', 'aa', 'b', 'c~', 'é', '\u{1F600}', 'z'];
const key = fc.constantFrom(...keys);
const namespace = { container: 'state:model', entity: 'thing' };
const int64 = fc.oneof(fc.bigInt(-3n, 3n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n));
const value = fc.oneof(
  fc.constantFrom('null', '""', '[1, 2]', '{"b":1,"a":2}').map((text) => ({ kind: 'json', text }) as const),
  int64.map((number) => ({ kind: 'number', number }) as const),
  fc.uint8Array({ maxLength: 3 }).map((bytes) => ({ kind: 'bytes', bytes }) as const),
);
const ttlMs = fc.integer({ min: 1, max: 20 });
const time = fc.oneof(fc.constant('never' as const), ttlMs);
const ttl = fc.oneof(
  time,
  time.map((keepElse) => ({ keepElse })),
);
const bounds = fc.record(
  { floor: fc.bigInt(-5n, 0n), ceiling: fc.bigInt(0n, 5n), ttlMs },
  { requiredKeys: [] },
);

const change: fc.Arbitrary<Change> = fc.oneof(
  {
    arbitrary: fc
      .tuple(key, value, ttl)
      .map(([k, v, t]) => ({ kind: 'put', address: { ...namespace, key: k }, value: v, ttl: t }) as const),
    weight: 4,
  },
  { arbitrary: key.map((k) => ({ kind: 'delete', address: { ...namespace, key: k } }) as const), weight: 2 },
  {
    arbitrary: fc
      .tuple(fc.constantFrom('sum' as const, 'min' as const, 'max' as const), key, int64, bounds)
      .map(([kind, k, operand, more]) => ({ kind, address: { ...namespace, key: k }, operand, ...more })),
    weight: 4,
  },
);
/** Half of the lists have puts that keep the expiry of another row. */
const changes = fc
  .tuple(fc.uniqueArray(change, { selector: ({ address }) => address.key, maxLength: 4 }), fc.nat(7))
  .map(([list, n]) =>
    list.map((each, index): Change => {
      const of = list[(index + n) % list.length]?.address;
      return n < 4 && of !== undefined && each.kind === 'put' && typeof each.ttl === 'object'
        ? { ...each, ttl: { ...each.ttl, of } }
        : each;
    }),
  );
const expected = fc.oneof(
  fc.constantFrom('absent' as const, 'present' as const),
  int64.map((number) => ({ number })),
  fc.constant({ version: '12345' }),
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    arbitrary: fc.record({
      step: fc.constant('commit' as const),
      checks: fc.oneof(
        { arbitrary: fc.constant([]), weight: 2 },
        fc.array(fc.record({ key, expected }), { maxLength: 2 }),
      ),
      changes,
    }),
    weight: 6,
  },
  {
    arbitrary: fc.record({ step: fc.constant('known' as const), key, stale: fc.boolean(), changes }),
    weight: 3,
  },
  {
    arbitrary: fc.record({
      step: fc.constant('page' as const),
      range: fc.record({ start: key, end: key, after: key }, { requiredKeys: [] }),
      reverse: fc.boolean(),
      limit: fc.integer({ min: 1, max: 8 }),
    }),
    weight: 3,
  },
  {
    arbitrary: fc.record({ step: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 12 }) }),
    weight: 3,
  },
  {
    arbitrary: fc.record({ step: fc.constant('sweep' as const), limit: fc.integer({ min: 1, max: 5 }) }),
    weight: 1,
  },
  { arbitrary: fc.record({ step: fc.constant('reopen' as const) }), weight: 1 },
);

const withManualClock = providers.filter(({ lacks }) => !lacks.includes('clock'));

describe.each(withManualClock.map((provider) => [provider.name, provider] as const))(
  'random operations on %s',
  (_, provider) => {
    test(`return the results of a plain Map (KVENT_SEED=${seed})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 50 }), async (steps) => {
          const subject = new Subject(provider);
          await subject.start();
          try {
            await compare(subject, steps);
          } finally {
            await subject.finish();
          }
        }),
        { seed, numRuns: runs, endOnFailure: false },
      );
    });
  },
);

async function compare(subject: Subject, steps: readonly Step[]): Promise<void> {
  const model = new Model(() => subject.clock.now());
  for (const each of steps) {
    await perform(subject, model, each);
    await expectEqualRows(subject, model);
  }
}

async function perform(subject: Subject, model: Model, each: Step): Promise<void> {
  switch (each.step) {
    case 'commit':
      return await commit(
        subject,
        model,
        each.changes,
        each.checks.map(({ key: name, expected: what }) => ({
          address: { ...namespace, key: name },
          expected: what,
        })),
      );
    case 'known': {
      // A check of the current version, or of one that never existed, and a renewal, which requires
      // a check.
      const version = each.stale ? '999' : (model.read(each.key)?.version ?? '999');
      const address = { ...namespace, key: each.key };
      const others = each.changes.filter((other) => other.address.key !== each.key);
      return await commit(
        subject,
        model,
        [{ kind: 'renew', address, ttlMs: 7 }, ...others],
        [{ address, expected: { version } }],
      );
    }
    case 'page': {
      const { reverse, limit, range } = each;
      const requested = {
        ...range,
        ...(range.start !== undefined && range.end !== undefined && range.start > range.end
          ? { end: range.start }
          : {}),
        reverse,
      };
      const all = model.keys(requested);
      const page = await subject.scanPage({ ...namespace, ...requested, limit });
      expect([page.rows.map((row) => row.key), page.more]).toEqual([all.slice(0, limit), all.length > limit]);
      return;
    }
    case 'advance':
      return await subject.clock.advance(each.ms);
    case 'sweep':
      await subject.provider.sweep(each.limit);
      return;
    case 'reopen':
      if (subject.provider.features.durable !== false) await subject.reopen();
  }
}

async function commit(
  subject: Subject,
  model: Model,
  batchChanges: readonly Change[],
  checks: readonly Check[],
): Promise<void> {
  const batch: Batch = subject.batch({ checks, changes: batchChanges });
  const expected = model.commit(batch);
  const [result] = await subject.provider.commit([batch]);
  expect(result && modelResultOf(result)).toEqual(expected);
}

/** Every row equals the model, read by key and in a page. */
async function expectEqualRows(subject: Subject, model: Model): Promise<void> {
  const { rows } = await subject.provider.read(keys.map((name) => subject.address(name, namespace)));
  const page = await subject.scanPage(namespace);
  for (const [index, name] of keys.entries()) {
    const row = rows[index];
    const expected = model.read(name);
    const seen = row && { ...row, expiresAt: row.expiresAt, ttlMs: row.ttlMs, value: plain(row.value) };
    expect(seen).toEqual(expected && { ...expected, value: plain(expected.value) });
    expect(page.rows.find((found) => found.key === name)?.row.version).toBe(expected?.version);
  }
  expect(page.rows.map((found) => found.key)).toEqual(model.keys({}));
}

const plain = (stored: { readonly kind: string }): unknown =>
  'bytes' in stored ? [...(stored.bytes as Uint8Array)] : stored;
