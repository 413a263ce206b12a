/**
 * Laws 3 to 5 for the methods that write one key: which of them creates, which overwrites, and
 * which error each reports. `add` must be atomic: a look before the write loses against a
 * concurrent `add`.
 */
import assert from 'node:assert/strict';
import { breaksStores, type StoreClause } from '../../kit/store-clause.js';
import type { Thing } from '../../kit/store-subject.js';
import { concurrently, assertRejects } from '../../kit/assertions.js';

export const writingClauses: readonly StoreClause[] = [
  {
    name: '`add` creates: it returns the entry with key, value, etag and time, and `get` returns the same.',
    law: 5,
    broken: breaksStores('returns the given value instead of the stored one', (store) => ({
      add: async (key, value, options) => {
        const entry = await store.add(key, value, options);
        return {
          ...entry,
          value: { ...(value as Thing), n: 0 },
          with: () => entry,
        } as unknown as typeof entry;
      },
    })),
    async run(subject) {
      const things = subject.store();
      const added = await things.add('one', { n: 1, text: 'a' });
      assert.deepEqual([added.key, added.value, added.expiresAt], ['one', { n: 1, text: 'a' }, undefined]);
      assert.match(added.etag, /^[1-9][0-9]*$/);
      const read = await things.getOrThrow('one');
      assert.deepEqual(
        [read.key, read.value, read.etag, read.updatedAt],
        [added.key, added.value, added.etag, added.updatedAt],
      );
      const [listed] = (await things.page({})).items;
      assert.deepEqual([listed?.key, listed?.value, listed?.etag], [added.key, added.value, added.etag]);
    },
  },
  {
    name: '`add` of an existing key is KEY_EXISTS, names the key and changes nothing; after a delete it creates again.',
    law: 3,
    broken: breaksStores('overwrites with `add`', (store) => ({
      add: (key, value, options) => store.set(key, value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.add(['a', 1], { n: 1 });
      const error = await assertRejects('KEY_EXISTS', 'add', () => things.add(['a', 1], { n: 2 }));
      assert.deepEqual([(error as { key?: unknown }).key, error.effect], [['a', 1], 'none']);
      const entry = await things.getOrThrow(['a', 1]);
      assert.deepEqual([entry.value, entry.etag], [{ n: 1 }, etag]);
      assert.equal(await things.delete(['a', 1]), true);
      assert.notEqual((await things.add(['a', 1], { n: 3 })).etag, etag);
    },
  },
  {
    name: 'Of 50 concurrent `add`s of one key, one creates it and 49 reject with KEY_EXISTS.',
    law: 3,
    broken: breaksStores('checks before it adds', (store) => ({
      add: async (key, value, options) =>
        (await store.has(key)) ? await store.add(key, value, options) : await store.set(key, value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const results = await concurrently(50, async (n) => {
        try {
          return (await things.add('one', { n })).value.n;
        } catch {
          return undefined;
        }
      });
      const winners = results.filter((n) => n !== undefined);
      assert.equal(winners.length, 1);
      assert.deepEqual((await things.getOrThrow('one')).value, { n: winners[0] });
    },
  },
  {
    name: '`set` creates and overwrites, and each write gives a new etag.',
    law: 4,
    broken: breaksStores('keeps the etag if the value stays the same', (store) => ({
      set: async (key, value, options) => {
        const before = await store.get(key);
        return before !== undefined && JSON.stringify(before.value) === JSON.stringify(value)
          ? before
          : await store.set(key, value, options);
      },
    })),
    async run(subject) {
      const things = subject.store();
      const etags = new Set<string>();
      for (let round = 0; round < 10; round += 1)
        etags.add((await things.set('one', { n: Math.floor(round / 2) })).etag);
      assert.equal(etags.size, 10);
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 4 });
    },
  },
  {
    name: '`set` with `ifMatch` writes only if the entry is unchanged; `ifMatch` is an etag, an entry, or the result of `stat`.',
    law: 4,
    broken: breaksStores('ignores `ifMatch`', (store) => ({
      set: (key, value, { ifMatch: _, ...options } = {}) => store.set(key, value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const first = await things.set('one', { n: 1 });
      const second = await things.set('one', { n: 2 }, { ifMatch: first.etag });
      const third = await things.set('one', { n: 3 }, { ifMatch: second });
      const stat = await things.stat('one');
      assert.equal(stat?.etag, third.etag);
      await things.set('one', { n: 4 }, { ifMatch: stat });
      const error = await assertRejects('STORAGE_CONFLICT', 'set', () =>
        things.set('one', { n: 5 }, { ifMatch: first.etag }),
      );
      const now = await things.getOrThrow('one');
      assert.deepEqual(now.value, { n: 4 });
      assert.deepEqual(
        {
          ...error,
          key: 'one',
          expected: first.etag,
          actual: now.etag,
          check: 'caller',
          retryable: false,
          effect: 'none',
        },
        { ...error },
      );
    },
  },
  {
    name: '`ifMatch` of an absent key conflicts, with an etag and with ‘*’; ‘*’ matches any existing entry.',
    law: 4,
    broken: breaksStores('treats ‘*’ as no condition', (store) => ({
      set: (key, value, options) => {
        const { ifMatch, ...others } = options ?? {};
        return ifMatch === '*' ? store.set(key, value, others) : store.set(key, value, options);
      },
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('other', { n: 1 });
      for (const ifMatch of [etag, '*']) {
        await assertRejects('STORAGE_CONFLICT', 'set of an absent key', () =>
          things.set('one', { n: 1 }, { ifMatch }),
        );
        await assertRejects('STORAGE_CONFLICT', 'delete of an absent key', () =>
          things.delete('one', { ifMatch }),
        );
      }
      assert.equal(await things.has('one'), false);
      await things.set('other', { n: 2 }, { ifMatch: '*' });
      assert.equal(await things.delete('other', { ifMatch: '*' }), true);
    },
  },
  {
    name: 'A blank or malformed etag is INVALID_ETAG, and a value that is no text is INVALID_OPTION, never ‘no check’; this includes a present `ifMatch` of undefined or null.',
    law: 4,
    broken: breaksStores('treats an undefined etag as no check', (store) => ({
      set: (key, value, options) => {
        const { ifMatch, ...others } = options ?? {};
        return ifMatch === undefined ? store.set(key, value, others) : store.set(key, value, options);
      },
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('one', { n: 1 });
      for (const wrong of [
        undefined,
        null,
        '',
        ' ',
        '0',
        '-1',
        '1.5',
        ' 7',
        '07',
        'abc',
        '**',
        `"${etag}"`,
        `W/"${etag}"`,
        '9223372036854775808',
        7,
        {},
        { etag: '' },
        [],
      ]) {
        const options = { ifMatch: wrong } as unknown as { ifMatch: string };
        const etagGiven: unknown =
          typeof wrong === 'object' && wrong !== null && 'etag' in wrong ? wrong.etag : wrong;
        const code = typeof etagGiven === 'string' ? 'INVALID_ETAG' : 'INVALID_OPTION';
        await assertRejects(code, `set with the etag ${JSON.stringify(wrong)}`, () =>
          things.set('one', { n: 2 }, options),
        );
        await assertRejects(code, `delete with the etag ${JSON.stringify(wrong)}`, () =>
          things.delete('one', options),
        );
      }
      assert.equal((await things.getOrThrow('one')).etag, etag);
    },
  },
  {
    name: '`replace` overwrites an existing entry, and is KEY_NOT_FOUND for an absent one, also after a delete.',
    law: 5,
    broken: breaksStores('creates with `replace`', (store) => ({
      replace: (key, value, options) => store.set(key, value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const error = await assertRejects('KEY_NOT_FOUND', 'replace', () => things.replace('one', { n: 1 }));
      assert.equal((error as { key?: unknown }).key, 'one');
      assert.equal(await things.get('one'), undefined);
      const { etag } = await things.add('one', { n: 1 });
      assert.notEqual((await things.replace('one', { n: 2 })).etag, etag);
      await things.delete('one');
      await assertRejects('KEY_NOT_FOUND', 'replace', () => things.replace('one', { n: 3 }));
    },
  },
  {
    name: '`delete` returns whether the key existed; with `ifMatch` it deletes only an unchanged entry.',
    law: 4,
    broken: breaksStores('ignores the `ifMatch` of a delete', (store) => ({
      delete: (key) => store.delete(key),
    })),
    async run(subject) {
      const things = subject.store();
      const old = await things.set('one', { n: 1 });
      const now = await things.set('one', { n: 2 });
      await assertRejects('STORAGE_CONFLICT', 'delete', () => things.delete('one', { ifMatch: old }));
      assert.equal(await things.has('one'), true);
      assert.deepEqual(
        [
          await things.delete('one', { ifMatch: now }),
          await things.delete('one'),
          await things.delete('one'),
        ],
        [true, false, false],
      );
    },
  },
];
