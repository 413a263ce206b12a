/**
 * Idempotency keys between processes: two storages on one server send the same batch at once. The
 * server judges that the record is absent by the snapshot of the statement, and the row after it
 * has waited for it, so the check that fails may be the one of the row although the same call has
 * landed.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineState,
  isStorageError,
  openStorage,
  type AtomicResult,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';

const rounds = 100;
const Accounts = defineState<{ readonly cents: number }>('account');

let database: FreshDatabase;
let storages: readonly KeyValueStorage[] = [];
beforeAll(async () => {
  database = await freshDatabase();
  const opened: KeyValueStorage[] = [];
  storages = opened;
  for (let index = 0; index < 2; index += 1)
    opened.push(await openStorage(new PostgresProvider({ url: database.url, poolSize: 2 })));
});
afterAll(async () => {
  for (const storage of storages) await storage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

type Outcome = AtomicResult | string;
const outcomeOf = async (work: Promise<AtomicResult>): Promise<Outcome> =>
  await work.catch((error: unknown) => (isStorageError(error) ? error.code : String(error)));

/**
 * What both storages were answered in each round: they are sent what the round is about at once.
 */
async function sentTwice(
  commit: (storage: KeyValueStorage, round: number) => Promise<AtomicResult>,
): Promise<readonly (readonly Outcome[])[]> {
  const answers: (readonly Outcome[])[] = [];
  for (let round = 0; round < rounds; round += 1)
    answers.push(await Promise.all(storages.map(async (storage) => await outcomeOf(commit(storage, round)))));
  return answers;
}

function expectOneAnswer(answers: readonly (readonly Outcome[])[]): void {
  expect(answers.flat().filter((answer) => typeof answer === 'string')).toEqual([]);
  for (const answer of answers as readonly (readonly AtomicResult[])[]) {
    expect(answer.map(({ replayed }) => replayed).toSorted()).toEqual([false, true]);
    expect(answer[0]?.changes).toEqual(answer[1]?.changes);
  }
}

describe('The same batch from two processes at once, under one key,', () => {
  it('is done once where it saves an entry, and both get the first result', async () => {
    const [first] = storages as [KeyValueStorage, KeyValueStorage];
    let read = await first.store(Accounts).set('one', { cents: 0 });
    const answers: (readonly Outcome[])[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const commit = async (storage: KeyValueStorage) =>
        await storage
          .atomic()
          .save(storage.store(Accounts), read.with({ cents: round }))
          .commit({ idempotencyKey: `save-${round}` });
      answers.push(await Promise.all(storages.map(async (storage) => await outcomeOf(commit(storage)))));
      read = await first.store(Accounts).getOrThrow('one');
      expect(read.value).toEqual({ cents: round });
    }
    expectOneAnswer(answers);
  }, 300_000);

  it('is done once where it adds a key', async () => {
    const answers = await sentTwice(
      async (storage, round) =>
        await storage
          .atomic()
          .add(storage.store(Accounts), `new-${round}`, { cents: 1 })
          .commit({ idempotencyKey: `add-${round}` }),
    );
    expectOneAnswer(answers);
  }, 300_000);

  it('is done once where the two batches name different keys and give one content', async () => {
    const answers = await sentTwice(
      async (storage, round) =>
        await storage
          .atomic()
          .add(storage.store(Accounts), crypto.randomUUID(), { cents: 1 })
          .commit({ idempotencyKey: { key: `own-${round}`, content: { round } } }),
    );
    expectOneAnswer(answers);
  }, 300_000);
});
