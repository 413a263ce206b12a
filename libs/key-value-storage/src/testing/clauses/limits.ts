/** Law 13: what the limits allow, a provider can do. (What they refuse never gets as far as a provider: the clauses of the stores prove that.) */
import assert from 'node:assert/strict';
import { limits } from '../../core/index.js';
import { breaks, changesBatches } from '../broken.js';
import type { Clause } from '../clause.js';
import { check, json, put, remove } from '../verbs.js';

const law = 13;

export const limitClauses: readonly Clause[] = [
  {
    name: 'A batch of as many changes as are allowed, each row checked too, is applied whole.',
    law,
    broken: changesBatches('leaves out what comes after 500 changes', (batch) => ({ ...batch, changes: batch.changes.slice(0, 500) })),
    async run(subject) {
      const addresses = Array.from({ length: limits.batchEntriesMax }, (_, index) => subject.address(`key-${index}`));
      const version = subject.version();
      const { rows } = await subject.must({
        version,
        checks: addresses.map((address) => check(address, 'absent')),
        changes: addresses.map((address, index) => put(address, String(index))),
      });
      assert.equal(rows.length, limits.batchEntriesMax);
      assert.equal((await subject.keys()).length, limits.batchEntriesMax);
      await subject.must({ checks: addresses.map((address) => check(address, version)), changes: addresses.map(remove) });
      assert.deepEqual(await subject.keys(), []);
    },
  },
  {
    name: 'A batch of 8 MB, in values of up to 900 KB, is applied and read back.',
    law,
    broken: changesBatches('leaves out what comes after one megabyte', (batch) => {
      let bytes = 0;
      const fits = (change: (typeof batch.changes)[number]): boolean => {
        bytes += change.kind === 'put' && change.value.kind === 'json' ? change.value.text.length : 0;
        return bytes < 1_048_576;
      };
      return { ...batch, changes: batch.changes.filter(fits) };
    }),
    async run(subject) {
      const addresses = Array.from({ length: 9 }, (_, index) => subject.address(`key-${index}`));
      const values = addresses.map((_, index) => json(JSON.stringify(String(index).repeat(limits.valueBytesMax - 2))));
      await subject.must({ changes: addresses.map((address, index) => put(address, values[index] as ReturnType<typeof json>)) });
      const { rows } = await subject.provider.read(addresses);
      for (const [index, row] of rows.entries()) assert.ok(sameText(row?.value, values[index]), `value ${index} came back changed`);
      const page = await subject.page();
      assert.deepEqual([page.rows.length, page.more], [9, false]);
    },
  },
  {
    name: 'A read of as many addresses as are allowed is answered in full.',
    law,
    broken: breaks('answers 512 addresses of a read', (provider) => ({
      read: (addresses, options) => provider.read(addresses.slice(0, 512), options),
    })),
    async run(subject) {
      const addresses = Array.from({ length: limits.readAddressesMax }, (_, index) => subject.address(`key-${index}`));
      await subject.must({ changes: addresses.slice(0, 900).map((address) => put(address, '1')) });
      const { rows } = await subject.provider.read(addresses, { values: 'omit' });
      assert.deepEqual([rows.length, rows.filter((row) => row !== undefined).length], [limits.readAddressesMax, 900]);
    },
  },
];

const sameText = (a: object | undefined, b: object | undefined): boolean =>
  (a as { text?: string } | undefined)?.text === (b as { text?: string } | undefined)?.text;
