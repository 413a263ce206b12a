/** The verbs that write one key: which of them creates, which overwrites, and what each says when it cannot. */
import assert from 'node:assert/strict';
import { breaksStores, throughProvider, type StoreClause } from '../../store-clause.js';
import { changesBatches } from '../../broken.js';
import type { Thing } from '../../store-subject.js';
import { race, rejects } from '../../verbs.js';

export const writingClauses: readonly StoreClause[] = [
  {
    name: '`add` creates: it answers the entry with key, value, etag and time, and `get` answers the same.',
    law: 5,
    broken: breaksStores('answers what it was given instead of what it stored', (store) => ({
      add: async (key, value, options) => {
        const entry = await store.add(key, value, options);
        return { ...entry, value: { ...(value as Thing), n: 0 }, with: () => entry } as unknown as typeof entry;
      },
    })),
    async run(subject) {
      const things = subject.store();
      const added = await things.add('one', { n: 1, text: 'a' });
      assert.deepEqual([added.key, added.value, added.expiresAt], ['one', { n: 1, text: 'a' }, undefined]);
      assert.match(added.etag, /^[1-9][0-9]*$/);
      const read = await things.getOrThrow('one');
      assert.deepEqual([read.key, read.value, read.etag, read.updatedAt], [added.key, added.value, added.etag, added.updatedAt]);
      const [listed] = (await things.page({})).items;
      assert.deepEqual([listed?.key, listed?.value, listed?.etag], [added.key, added.value, added.etag]);
    },
  },
  {
    name: '`add` of a key that is there is KEY_EXISTS, names the key and changes nothing; after a delete it creates again.',
    law: 3,
    broken: breaksStores('overwrites with `add`', (store) => ({ add: (key, value, options) => store.set(key, value, options) })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.add(['a', 1], { n: 1 });
      const error = await rejects('KEY_EXISTS', 'add', () => things.add(['a', 1], { n: 2 }));
      assert.deepEqual([(error as { key?: unknown }).key, error.effect], [['a', 1], 'none']);
      const entry = await things.getOrThrow(['a', 1]);
      assert.deepEqual([entry.value, entry.etag], [{ n: 1 }, etag]);
      assert.equal(await things.delete(['a', 1]), true);
      assert.notEqual((await things.add(['a', 1], { n: 3 })).etag, etag);
    },
  },
  {
    name: 'Of 50 that `add` one key at once, one creates it and 49 hear KEY_EXISTS.',
    law: 3,
    broken: breaksStores('looks before it adds', (store) => ({
      add: async (key, value, options) =>
        (await store.has(key)) ? await store.add(key, value, options) : await store.set(key, value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const results = await race(50, async (n) => {
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
    name: '`set` creates and overwrites, whatever is there, and each time the etag is another one.',
    law: 4,
    broken: breaksStores('keeps the etag where the value stays the same', (store) => ({
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
      for (let round = 0; round < 10; round += 1) etags.add((await things.set('one', { n: Math.floor(round / 2) })).etag);
      assert.equal(etags.size, 10);
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 4 });
    },
  },
  {
    name: '`set` with `ifMatch` writes only what the caller saw: an etag, an entry, or what a `stat` answered.',
    law: 4,
    broken: breaksStores('does not look at `ifMatch`', (store) => ({
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
      const error = await rejects('STORAGE_CONFLICT', 'set', () => things.set('one', { n: 5 }, { ifMatch: first.etag }));
      const now = await things.getOrThrow('one');
      assert.deepEqual(now.value, { n: 4 });
      assert.deepEqual(
        { ...error, key: 'one', expected: first.etag, actual: now.etag, check: 'caller', retryable: false, effect: 'none' },
        { ...error },
      );
    },
  },
  {
    name: '`ifMatch` of an absent key conflicts, with an etag and with ‘*’; ‘*’ is met by whatever is there.',
    law: 4,
    broken: breaksStores('takes ‘*’ for no condition', (store) => ({
      set: (key, value, options) => {
        const { ifMatch, ...others } = options ?? {};
        return ifMatch === '*' ? store.set(key, value, others) : store.set(key, value, options);
      },
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('other', { n: 1 });
      for (const ifMatch of [etag, '*']) {
        await rejects('STORAGE_CONFLICT', 'set of an absent key', () => things.set('one', { n: 1 }, { ifMatch }));
        await rejects('STORAGE_CONFLICT', 'delete of an absent key', () => things.delete('one', { ifMatch }));
      }
      assert.equal(await things.has('one'), false);
      await things.set('other', { n: 2 }, { ifMatch: '*' });
      assert.equal(await things.delete('other', { ifMatch: '*' }), true);
    },
  },
  {
    name: 'A blank, malformed or missing etag is INVALID_ETAG, never ‘no check’: undefined and null too, where `ifMatch` is present.',
    law: 4,
    broken: breaksStores('takes an undefined etag for no check', (store) => ({
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
        await rejects('INVALID_ETAG', `set with the etag ${JSON.stringify(wrong)}`, () => things.set('one', { n: 2 }, options));
        await rejects('INVALID_ETAG', `delete with the etag ${JSON.stringify(wrong)}`, () => things.delete('one', options));
      }
      assert.equal((await things.getOrThrow('one')).etag, etag);
    },
  },
  {
    name: '`replace` overwrites what is there, and is KEY_NOT_FOUND where nothing is, also after a delete.',
    law: 5,
    broken: breaksStores('creates with `replace`', (store) => ({ replace: (key, value, options) => store.set(key, value, options) })),
    async run(subject) {
      const things = subject.store();
      const error = await rejects('KEY_NOT_FOUND', 'replace', () => things.replace('one', { n: 1 }));
      assert.equal((error as { key?: unknown }).key, 'one');
      assert.equal(await things.get('one'), undefined);
      const { etag } = await things.add('one', { n: 1 });
      assert.notEqual((await things.replace('one', { n: 2 })).etag, etag);
      await things.delete('one');
      await rejects('KEY_NOT_FOUND', 'replace', () => things.replace('one', { n: 3 }));
    },
  },
  {
    name: '`save` writes what was read and changed, and conflicts once it has changed or is gone.',
    law: 3,
    broken: breaksStores('saves over whatever is there', (store) => ({
      save: (entry, options) => store.set(entry.key, entry.value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const entry = await things.add('one', { n: 1, text: 'kept' });
      const saved = await things.save(entry.with({ n: 2 }));
      assert.deepEqual(saved.value, { n: 2, text: 'kept' });
      const error = await rejects('STORAGE_CONFLICT', 'save', () => things.save(entry.with({ n: 3 })));
      assert.deepEqual({ ...error, key: 'one', expected: entry.etag, actual: saved.etag, check: 'own', retryable: true }, { ...error });
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 2, text: 'kept' });
      await things.delete('one');
      await rejects('STORAGE_CONFLICT', 'save', () => things.save(saved));
      assert.equal(await things.has('one'), false);
    },
  },
  {
    name: 'A hundred `update`s of one key at once lose none.',
    law: 3,
    broken: throughProvider(changesBatches('does not look at checks', (batch) => ({ ...batch, checks: [] }))),
    async run(subject) {
      const things = subject.store();
      await things.set('count', { n: 0 });
      const attempts = { retry: { attempts: 1_000, budgetMs: 60_000 } };
      await race(100, () => things.update('count', async ({ n }) => ({ n: n + 1 }), attempts));
      assert.deepEqual((await things.getOrThrow('count')).value, { n: 100 });
    },
  },
  {
    name: '`update` gives up with the conflict after its attempts, and says how many they were.',
    law: 3,
    broken: breaksStores('writes all the same when its attempts are spent', (store) => ({
      update: async (key, change, options) => {
        try {
          return await store.update(key, change, options);
        } catch {
          return await store.set(key, (await store.getOrThrow(key)).value);
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('one', { n: 0 });
      let runs = 0;
      const meddle = async ({ n }: Thing): Promise<Thing> => {
        runs += 1;
        await things.set('one', { n: n + 100 });
        return { n: n + 1 };
      };
      const error = await rejects('STORAGE_CONFLICT', 'update', () => things.update('one', meddle, { retry: { attempts: 3, delayMs: 0 } }));
      assert.deepEqual([runs, (error as { attempts?: number }).attempts], [3, 3]);
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 300 });
    },
  },
  {
    name: '`update` writes nothing when it gets the same value back, and refuses undefined: a forgotten return.',
    law: 4,
    broken: breaksStores('writes also what is unchanged', (store) => ({
      update: (key, change, options) => store.update(key, async (value: object) => ({ ...((await change(value)) as object) }), options),
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('one', { n: 1 });
      assert.equal((await things.update('one', (value) => value)).etag, etag);
      await rejects('INVALID_VALUE', 'update to undefined', () => things.update('one', () => undefined as never));
      assert.equal((await things.getOrThrow('one')).etag, etag);
      assert.notEqual((await things.update('one', (value) => ({ ...value }))).etag, etag);
    },
  },
  {
    name: '`update` of an absent key is KEY_NOT_FOUND, unless `initial` says what it counts as; of 20 at once none is lost.',
    law: 5,
    broken: breaksStores('begins anew each time it is given an `initial`', (store) => ({
      update: async (key, change, options) =>
        options?.initial === undefined ? await store.update(key, change, options) : await store.set(key, await change(options.initial())),
    })),
    async run(subject) {
      const things = subject.store();
      await rejects('KEY_NOT_FOUND', 'update', () => things.update('one', (value) => value));
      assert.equal(await things.has('one'), false);
      const options = { initial: () => ({ n: 0 }), retry: { attempts: 1_000, budgetMs: 60_000 } };
      await race(20, () => things.update('one', ({ n }) => ({ n: n + 1 }), options));
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 20 });
    },
  },
  {
    name: 'What `update` throws inside is thrown outside, and nothing is written.',
    law: 1,
    broken: breaksStores('hides what a change throws', (store) => ({
      update: async (key, change, options) => {
        try {
          return await store.update(key, change, options);
        } catch {
          return await store.getOrThrow(key);
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('one', { n: 1 });
      const reason = new Error('not today');
      const thrower = (): never => {
        throw reason;
      };
      await assert.rejects(things.update('one', thrower), (error) => error === reason);
      assert.equal((await things.getOrThrow('one')).etag, etag);
    },
  },
  {
    name: 'Of 50 that `getOrAdd` one key at once one hears that it made it, and all hear the same entry; `make` runs only where nothing is.',
    law: 3,
    broken: breaksStores('looks before it adds', (store) => ({
      getOrAdd: async (key, make, options) => {
        const entry = await store.get(key);
        return entry === undefined ? { entry: await store.set(key, await make(), options), added: true } : { entry, added: false };
      },
    })),
    async run(subject) {
      const things = subject.store();
      const results = await race(50, (n) => things.getOrAdd('one', async () => ({ n })));
      assert.equal(results.filter(({ added }) => added).length, 1);
      assert.equal(new Set(results.map(({ entry }) => entry.etag)).size, 1);
      const again = await things.getOrAdd('one', () => assert.fail('make ran where an entry was'));
      assert.deepEqual([again.added, again.entry.etag], [false, results[0]?.entry.etag]);
    },
  },
  {
    name: '`delete` answers whether it was there; with `ifMatch` it takes only what the caller saw.',
    law: 4,
    broken: breaksStores('does not look at the `ifMatch` of a delete', (store) => ({ delete: (key) => store.delete(key) })),
    async run(subject) {
      const things = subject.store();
      const old = await things.set('one', { n: 1 });
      const now = await things.set('one', { n: 2 });
      await rejects('STORAGE_CONFLICT', 'delete', () => things.delete('one', { ifMatch: old }));
      assert.equal(await things.has('one'), true);
      assert.deepEqual(
        [await things.delete('one', { ifMatch: now }), await things.delete('one'), await things.delete('one')],
        [true, false, false],
      );
    },
  },
  {
    name: 'Of 50 that `take` one key at once one gets the entry, and the others undefined.',
    law: 3,
    broken: breaksStores('reads, then deletes', (store) => ({
      take: async (key) => {
        const entry = await store.get(key);
        await store.delete(key);
        return entry;
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('job', { n: 7 });
      const taken = (await race(50, () => things.take('job'))).filter((entry) => entry !== undefined);
      assert.deepEqual(
        taken.map(({ value }) => value),
        [{ n: 7 }],
      );
      assert.deepEqual([await things.has('job'), await things.take('job')], [false, undefined]);
    },
  },
];
