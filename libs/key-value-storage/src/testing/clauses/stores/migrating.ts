/**
 * Migrations of stored values: they run beside the application, so they must never overwrite what
 * it writes, and must continue after an interruption.
 */
import assert from 'node:assert/strict';
import {
  defineState,
  StateMigration,
  type Entry,
  type KeyValueStorage,
  type KeyValueStore,
} from '../../../core.js';
import { assertRejects } from '../../kit/assertions.js';
import { changesBatches, changesChanges, changesRows } from '../../kit/broken-providers.js';
import { throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { collect, keysOf, type StoreSubject } from '../../kit/store-subject.js';

/** Version 1 had one name. */
interface Named {
  readonly name: string;
}
interface Person {
  readonly first: string;
  readonly last: string;
}
const upcast = {
  1: ({ name }: Named): Person => {
    const [first = '', last = ''] = name.split(' ');
    return { first, last };
  },
};
const indexes = { byLast: ({ last }: Person) => last };
const Old = defineState<Named>('person');
const Present = defineState<Person, string, typeof indexes>('person', { schemaVersion: 2, upcast, indexes });
/** The same rows, without indexes. */
const Plain = defineState<Person, string>('person', { schemaVersion: 2, upcast });
const Later = defineState<unknown>('person', {
  schemaVersion: 3,
  upcast: { ...upcast, 2: (person: unknown) => person },
});
const Copies = defineState<Person, string>('copy', { container: 'archive' });

const ada = { first: 'Ada', last: 'Lovelace' };

async function fill(storage: KeyValueStorage, keys: readonly string[]): Promise<void> {
  const people = storage.store(Old);
  for (const key of keys) await people.set(key, { name: 'Ada Lovelace' });
}

/** The present definition, with work between the read of an entry and its write. */
function interrupted(work: (value: Person) => Promise<void>) {
  const validate = async (value: unknown) => {
    await work(value as Person);
    return { value: value as Person };
  };
  const schema = { '~standard': { version: 1, vendor: 'kit', validate } } as const;
  return defineState('person', { schemaVersion: 2, upcast, schema });
}

/** What others do to two of three entries while they are copied. */
async function changeSource(key: string, people: KeyValueStore<Person, string>): Promise<void> {
  if (key === 'a') await people.set('a', { first: 'Ada', last: 'King' });
  if (key === 'b') await people.delete('b');
}

/** Sets a value until its time is later than that of an entry. */
async function setLater<T>(
  { clock }: StoreSubject,
  store: KeyValueStore<T, string>,
  value: T,
  than: Entry<unknown>,
): Promise<Entry<T, string>> {
  for (;;) {
    await clock.advance(1);
    const entry = await store.set(than.key as string, value);
    if (entry.updatedAt > than.updatedAt) return entry;
  }
}

const withoutVersionChecks = throughProvider(
  changesBatches('does not check versions', (batch) => ({
    ...batch,
    checks: batch.checks.filter(({ expected }) => typeof expected === 'string' || !('version' in expected)),
  })),
);

export const migrationClauses: readonly StoreClause[] = [
  {
    name: 'A migration rewrites every value of an older schema version, keeps keys and expiry, and changes the indexes in the same commit; a second run writes nothing.',
    law: 6,
    broken: throughProvider(
      changesChanges('removes the expiry that a write keeps', (change) =>
        change.kind === 'put' && typeof change.ttl === 'object' ? { ...change, ttl: 'never' } : change,
      ),
    ),
    async run({ storage }) {
      await fill(storage, ['a', 'b', 'c']);
      const { expiresAt } = await storage.store(Old).set('d', { name: 'Grace Hopper' }, { ttlMs: 3_600_000 });
      const people = storage.store(Present);
      await people.set('e', ada);
      const migration = new StateMigration(people, { pageRows: 2 });
      const before = [
        { schemaVersion: 1, entries: 4 },
        { schemaVersion: 2, entries: 1 },
      ];
      assert.deepEqual(await migration.versions(), before);
      const { read, written, unchanged, resumed } = await migration.run();
      assert.deepEqual(
        { read, written, unchanged, resumed },
        { read: 5, written: 4, unchanged: 1, resumed: false },
      );
      assert.deepEqual(await migration.versions(), [{ schemaVersion: 2, entries: 5 }]);
      assert.deepEqual({ ...(await people.getOrThrow('d')).value }, { first: 'Grace', last: 'Hopper' });
      assert.deepEqual((await people.getOrThrow('d')).expiresAt, expiresAt);
      assert.deepEqual(keysOf(await collect(people.index('byLast').list())), ['d', 'a', 'b', 'c', 'e']);
      assert.deepEqual((await migration.run()).written, 0);
    },
  },
  {
    name: 'A migration never overwrites a value that was written after it had read the older one.',
    law: 3,
    broken: withoutVersionChecks,
    async run({ storage }) {
      await fill(storage, ['a', 'b']);
      const people = storage.store(Plain);
      let isFirst = true;
      const Slow = interrupted(async () => {
        if (!isFirst) return;
        isFirst = false;
        await people.set('a', { first: 'Ada', last: 'Byron' });
        await people.delete('b');
      });
      const { written, unchanged, skipped } = await new StateMigration(storage.store(Slow), {
        concurrency: 1,
      }).run();
      assert.deepEqual({ written, unchanged, skipped }, { written: 0, unchanged: 1, skipped: 1 });
      assert.deepEqual((await people.getOrThrow('a')).value.last, 'Byron');
      assert.equal(await people.has('b'), false);
    },
  },
  {
    name: 'A migration that was interrupted continues at its last page, and then reads what is before it, where others may have written since; afterwards nothing is left of it beside the entries.',
    law: 12,
    broken: throughProvider(
      changesBatches('does not store the position of a migration', (batch) => ({
        ...batch,
        changes: batch.changes.filter(({ address }) => !address.container.startsWith('task:')),
      })),
    ),
    async run({ storage, provider, tenant }) {
      await fill(storage, ['a', 'b', 'c', 'd', 'e']);
      const people = storage.store(Plain);
      const stop = new AbortController();
      const stopping = new StateMigration(people, { pageRows: 2, onProgress: () => stop.abort() });
      await assertRejects('ABORTED', 'run', () => stopping.run({ signal: stop.signal }));
      await fill(storage, ['a']);
      const migration = new StateMigration(people, { pageRows: 2 });
      const { read, written, resumed } = await migration.run();
      assert.deepEqual({ read, written, resumed }, { read: 5, written: 4, resumed: true });
      assert.deepEqual(await migration.versions(), [{ schemaVersion: 2, entries: 5 }]);
      const spaces = await provider.administration.spaces(`tenant:${tenant}`);
      assert.deepEqual([...new Set(spaces.map(({ container }) => container))], ['state:state']);
    },
  },
  {
    name: 'A copy into another store keeps keys, etags and expiry. Repeated, it copies what was written since, and never overwrites an entry that was written later in the other store.',
    law: 3,
    broken: throughProvider(
      changesRows('does not know when rows were written', (row) => ({ ...row, updatedAt: 0 })),
    ),
    async run(subject) {
      const { storage } = subject;
      await fill(storage, ['a', 'b', 'c']);
      const [people, copies] = [storage.store(Plain), storage.store(Copies)];
      const { expiresAt } = await people.set('d', ada, { ttlMs: 3_600_000 });
      const copy = async () => {
        const migration = new StateMigration(people, {
          to: copies,
          change: (person, key) => (key === 'c' ? undefined : person),
        });
        const { written, unchanged, newer, skipped } = await migration.run();
        return { written, unchanged, newer, skipped };
      };
      assert.deepEqual(await copy(), { written: 3, unchanged: 0, newer: 0, skipped: 1 });
      const [a, b, d] = await copies.getMany(['a', 'b', 'd']);
      assert.ok(a !== undefined && b !== undefined && d !== undefined);
      assert.deepEqual([a.etag, a.value], [(await people.getOrThrow('a')).etag, ada]);
      assert.deepEqual(d.expiresAt, expiresAt);
      assert.deepEqual(await copy(), { written: 0, unchanged: 3, newer: 0, skipped: 1 });
      await setLater(subject, copies, { first: 'Ada', last: 'Byron' }, b);
      const changed = await setLater(subject, people, { first: 'Ada', last: 'King' }, a);
      assert.deepEqual(await copy(), { written: 1, unchanged: 1, newer: 1, skipped: 1 });
      const after = await copies.getMany(['a', 'b']);
      assert.deepEqual(
        after.map((entry) => entry?.value.last),
        ['King', 'Byron'],
      );
      assert.equal(after[0]?.etag, changed.etag);
    },
  },
  {
    name: 'An entry that is overwritten or deleted while it is copied into another store, of the same tenant or of another one, is copied again, or its copy is deleted.',
    law: 3,
    broken: withoutVersionChecks,
    async run(subject) {
      const { storage, clock } = subject;
      const people = storage.store(Plain);
      const copies = storage.store(Copies);
      for (const to of [copies, copies.forTenant(subject.otherTenant())]) {
        await people.setMany(['a', 'b', 'c'].map((key) => ({ key, value: ada })));
        const copied: string[] = [];
        const change = async (person: Person, key: string) => {
          if (!copied.includes(key)) await changeSource(key, people);
          await clock.advance(1);
          copied.push(key);
          return person;
        };
        await new StateMigration(people, { to, change, concurrency: 1 }).run();
        const lastNames = (await to.getMany(['a', 'b', 'c'])).map((entry) => entry?.value.last);
        assert.deepEqual(lastNames, ['King', undefined, 'Lovelace']);
        const { read, unchanged } = await new StateMigration(people, { to }).run();
        assert.deepEqual({ read, unchanged }, { read: 2, unchanged: 2 });
      }
    },
  },
  {
    name: 'A copy into the store of another tenant that was interrupted before it was compared with its entry is compared by the next run; afterwards nothing is left of it beside the entries.',
    law: 12,
    broken: throughProvider(
      changesBatches('does not store the marks of copies', (batch) => ({
        ...batch,
        changes: batch.changes.filter(({ address }) => !address.container.startsWith('task:')),
      })),
    ),
    async run(subject) {
      const { storage, clock, provider } = subject;
      const people = storage.store(Plain);
      const tenant = subject.otherTenant();
      const to = storage.store(Copies).forTenant(tenant);
      await people.setMany(['a', 'b', 'c'].map((key) => ({ key, value: ada })));
      const stopped = new Error('stopped');
      const change = async (person: Person, key: string) => {
        if (key === 'c') throw stopped;
        await changeSource(key, people);
        await clock.advance(1);
        return person;
      };
      const stopping = new StateMigration(people, { to, change, concurrency: 1 });
      await assert.rejects(stopping.run(), (error) => error === stopped);
      assert.equal((await to.getOrThrow('a')).value.last, 'Lovelace');
      await new StateMigration(people, { to }).run();
      const lastNames = (await to.getMany(['a', 'b', 'c'])).map((entry) => entry?.value.last);
      assert.deepEqual(lastNames, ['King', undefined, 'Lovelace']);
      const spaces = await provider.administration.spaces(`tenant:${tenant}`);
      assert.deepEqual(
        spaces.map(({ container }) => container),
        ['state:archive'],
      );
    },
  },
  {
    name: 'A migration leaves a value of a later schema version as it is. It stops at a damaged value, or reports it and continues.',
    law: 14,
    broken: throughProvider(
      changesRows('returns values without their schema version', (row) =>
        row.value.kind === 'json'
          ? { ...row, value: { kind: 'json', text: row.value.text.replace(/^\{"\$v":\d+,/, '{"name":"x",') } }
          : row,
      ),
    ),
    async run(subject) {
      const { storage } = subject;
      await fill(storage, ['broken']);
      await subject.corruptRow(() => ({ text: '{"name":5}' }));
      await storage.store(Later).set('later', ada);
      const people = storage.store(Plain);
      await assertRejects('STORAGE_CORRUPT', 'run', () => new StateMigration(people).run());
      const result = await new StateMigration(people, { onError: 'continue' }).run();
      const { read, written, newer, failed, failures } = result;
      assert.deepEqual({ read, written, newer, failed }, { read: 2, written: 0, newer: 1, failed: 1 });
      assert.deepEqual(
        failures.map(({ key }) => key),
        ['broken'],
      );
      assert.deepEqual((await storage.store(Later).getOrThrow('later')).value, ada);
    },
  },
];
