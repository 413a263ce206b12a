/**
 * Law 13, limits: a provider supports everything up to the limits of `limits.ts`. What exceeds them
 * is refused above the port, with few exceptions (bytes of a page or a read). The limits are the
 * same on every provider, so that data can always move.
 */
import assert from 'node:assert/strict';
import { sizeOfValue } from '../../../core/port/footprint.js';
import { limits, type StorageProvider } from '../../../core.js';
import type { ScanPage, ScanRange, StoredValue } from '../../../provider.js';
import { breaks, changesBatches } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';
import { assertRejects } from '../../kit/assertions.js';
import { check, json, put, remove } from '../../kit/batches.js';

const law = 13;

export const limitClauses: readonly Clause[] = [
  {
    name: 'A batch of the maximum number of checks and changes is applied completely.',
    law,
    broken: changesBatches('omits changes after the first 500', (batch) => ({
      ...batch,
      changes: batch.changes.slice(0, 500),
    })),
    async run(subject) {
      const addresses = Array.from({ length: limits.batchEntriesMax }, (_, index) =>
        subject.address(`key-${index}`),
      );
      const version = subject.nextVersion();
      const { rows } = await subject.mustCommit({
        version,
        checks: addresses.map((address) => check(address, 'absent')),
        changes: addresses.map((address, index) => put(address, String(index))),
      });
      assert.equal(rows.length, limits.batchEntriesMax);
      assert.equal((await subject.scanKeys()).length, limits.batchEntriesMax);
      await subject.mustCommit({
        checks: addresses.map((address) => check(address, version)),
        changes: addresses.map(remove),
      });
      assert.deepEqual(await subject.scanKeys(), []);
    },
  },
  {
    name: 'A batch of 8 MB, in values of up to 900 KB, is applied and read back.',
    law,
    broken: changesBatches('omits changes after the first megabyte', (batch) => {
      let bytes = 0;
      const fits = (change: (typeof batch.changes)[number]): boolean => {
        bytes += change.kind === 'put' && change.value.kind === 'json' ? change.value.text.length : 0;
        return bytes < 1_048_576;
      };
      return { ...batch, changes: batch.changes.filter(fits) };
    }),
    async run(subject) {
      const addresses = Array.from({ length: 9 }, (_, index) => subject.address(`key-${index}`));
      const values = addresses.map((_, index) =>
        json(JSON.stringify(String(index).repeat(limits.valueBytesMax - 2))),
      );
      await subject.mustCommit({
        changes: addresses.map((address, index) => put(address, values[index] as ReturnType<typeof json>)),
      });
      const { rows } = await subject.provider.read(addresses);
      for (const [index, row] of rows.entries())
        assert.ok(sameText(row?.value, values[index]), `value ${index} is changed`);
      const page = await subject.scanPage();
      assert.deepEqual([page.rows.length, page.more], [9, false]);
    },
  },
  {
    name: 'A read of the maximum number of addresses returns all rows.',
    law,
    broken: breaks('returns at most 512 rows of a read', (provider) => ({
      read: (addresses, options) => provider.read(addresses.slice(0, 512), options),
    })),
    async run(subject) {
      const addresses = Array.from({ length: limits.readAddressesMax }, (_, index) =>
        subject.address(`key-${index}`),
      );
      await subject.mustCommit({ changes: addresses.slice(0, 900).map((address) => put(address, '1')) });
      const { rows } = await subject.provider.read(addresses, { values: 'omit' });
      assert.deepEqual(
        [rows.length, rows.filter((row) => row !== undefined).length],
        [limits.readAddressesMax, 900],
      );
    },
  },
  {
    name: 'A page ends before its values exceed 8 MB, has at least one row, and reports that more follow; the pages miss and repeat no row.',
    law,
    broken: breaks('returns pages of any size', (provider) => ({
      scan: async (ranges, options) =>
        await Promise.all(ranges.map(async (range) => await wholePage(provider, range, options))),
    })),
    async run(subject) {
      const rows = await fillWithLarge(subject, 12);
      for (const reverse of [false, true]) {
        const seen: string[] = [];
        for (let more = true, after: string | undefined; more; after = seen.at(-1)) {
          const page = await subject.scanPage({ reverse, ...(after === undefined ? {} : { after }) });
          const bytes = page.rows.reduce((sum, { row }) => sum + sizeOfValue(row.value as StoredValue), 0);
          assert.ok(
            page.rows.length > 0 && bytes <= limits.pageBytesMax,
            `a page of ${page.rows.length} rows and ${bytes} bytes`,
          );
          assert.ok(
            !page.more || bytes > limits.pageBytesMax - limits.valueBytesMax,
            `a page of ${bytes} bytes has room for more`,
          );
          for (const { key, row } of page.rows)
            assert.ok(sameText(row.value, rows.get(key)), `the value of ${key} is changed`);
          seen.push(...page.rows.map(({ key }) => key));
          more = page.more;
          assert.ok(seen.length <= rows.size, 'the pages never end');
        }
        assert.deepEqual(seen, reverse ? [...rows.keys()].toReversed() : [...rows.keys()]);
      }
      const bare = await subject.scanPage({ values: 'omit' });
      assert.deepEqual([bare.rows.length, bare.more], [rows.size, false]);
    },
  },
  {
    name: 'A read of values of more than 8 MB is LIMIT_EXCEEDED; fewer rows, or all rows without values, are read.',
    law,
    broken: breaks('returns reads of any size', (provider) => ({
      read: async (addresses, options) => {
        const each = await Promise.all(
          addresses.map(async (address) => await provider.read([address], options)),
        );
        return {
          time: each[0]?.time ?? (await provider.read([])).time,
          rows: each.flatMap(({ rows }) => rows),
        };
      },
    })),
    async run(subject) {
      const large = Array.from((await fillWithLarge(subject, 12)).keys(), (key) => subject.address(key));
      const beside = Array.from({ length: 60 }, (_, index) => subject.address(`absent-${index}`));
      const elsewhere = { ...subject.address('x'), entity: 'elsewhere' };
      for (const addresses of [large, [...beside, ...large], [...beside, elsewhere, ...large.toReversed()]]) {
        const error = await assertRejects('LIMIT_EXCEEDED', `a read of ${addresses.length} rows`, () =>
          subject.provider.read(addresses),
        );
        assert.deepEqual(
          { ...error, limit: 'pageBytesMax', allowed: limits.pageBytesMax, effect: 'none' },
          { ...error },
        );
        const found = [
          (await subject.provider.read(addresses, { values: 'omit' })).rows,
          (await subject.provider.read(addresses.slice(-9))).rows,
        ];
        assert.deepEqual(
          found.map((rows) => rows.filter((row) => row !== undefined).length),
          [12, 9],
        );
      }
    },
  },
];

/**
 * Rows of the largest values in the space of the subject: half of them such as compress well, half
 * such as do not. In the order of their keys.
 */
async function fillWithLarge(
  subject: Subject,
  count: number,
): Promise<ReadonlyMap<string, ReturnType<typeof json>>> {
  const noise = makeNoise(largest + count);
  const rows = new Map<string, ReturnType<typeof json>>();
  for (let index = 0; index < count; index += 1)
    rows.set(
      `key-${String(index).padStart(2, '0')}`,
      json(JSON.stringify(index % 2 === 0 ? 'x'.repeat(largest) : noise.slice(index, index + largest))),
    );
  const each = [...rows];
  for (let from = 0; from < count; from += 8)
    await subject.mustCommit({
      changes: each.slice(from, from + 8).map(([key, value]) => put(subject.address(key), value)),
    });
  return rows;
}

const largest = limits.valueBytesMax - 2;

/** Text that does not compress, the same each time. */
function makeNoise(length: number): string {
  const parts: string[] = [];
  let state = 1;
  for (let size = 0; size < length; size += parts.at(-1)?.length ?? 0) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    parts.push(state.toString(36));
  }
  return parts.join('');
}

/** A page without a limit of bytes: all pages joined. */
async function wholePage(
  provider: StorageProvider,
  range: ScanRange,
  options?: { readonly signal?: AbortSignal | undefined },
): Promise<ScanPage> {
  const [page] = (await provider.scan([range], options)) as [ScanPage];
  const last = page.rows.at(-1);
  if (!page.more || last === undefined || page.rows.length === range.limit) return page;
  const rest = await wholePage(
    provider,
    { ...range, after: last.key, limit: range.limit - page.rows.length },
    options,
  );
  return { ...rest, rows: [...page.rows, ...rest.rows] };
}

const sameText = (a: object | undefined, b: object | undefined): boolean => textOf(a) === textOf(b);
const textOf = (value: object | undefined): unknown =>
  value !== undefined && 'text' in value ? value.text : undefined;
