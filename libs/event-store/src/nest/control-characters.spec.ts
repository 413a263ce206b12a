/**
 * Ids, tenants and names as an attacker chooses them: none of them may end a line of a log, move a
 * terminal's cursor or turn its text round.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '../core.js';
import { StreamLogger } from './stream-logger.js';
import { defineState, MemoryProvider, openStorage } from '@kvent/key-value-storage';
import { isStorageError, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { storageError } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';

const control = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\p{Surrogate}]/u;
const hostile = [
  'a\n[Nest] ERROR forged',
  '\u001b[2J\u001b]0;title\u0007',
  'gpj\u202eexe',
  '\u0085\u009b31m',
  '\u2028\u2066',
  'half \ud800',
  '\u007f\r',
];

const Things = defineState<{ n: number }>('thing');
let storage: KeyValueStorage;

beforeEach(async () => {
  storage = await openStorage(new MemoryProvider(), { tenant: 'acme' });
});
afterEach(() => storage[Symbol.asyncDispose]());

/** The message of the error that the work ends with. */
async function messageOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (isStorageError(error)) return error.message;
    throw error;
  }
  throw new Error('It was done.');
}

describe.each(hostile)('the text %j', (text) => {
  it('stands as escapes in the message of every error, whatever it names', async () => {
    const things = storage.store(Things);
    await things.add(text, { n: 1 });
    const stream = new EventStore(storage).stream(
      defineStream(`ledger-${text}`, {
        initial: () => 0,
        events: { noted: event<string>() },
        evolve: (state: number) => state,
      }),
    );
    const messages = [
      await messageOf(() => things.add(text, { n: 2 })),
      await messageOf(() => things.getOrThrow(`${text}2`)),
      await messageOf(() => things.set(text, { n: 2 }, { ifMatch: 'x' + text })),
      await messageOf(() => things.set(text, { n: 2 }, { [text]: 1 })),
      await messageOf(() => things.set(text, { [text]: () => 1 } as never)),
      await messageOf(() => things.page({ cursor: text })),
      await messageOf(() => things.update(text, () => ({ [text]: Symbol(text) }) as never)),
      await messageOf(() => storage.store(Things).get([text, Number.NaN])),
      await messageOf(() => defineState(text, { ttlMs: text } as never)),
      await messageOf(() => storage.store(defineState(text)).getOrThrow(text)),
      await messageOf(() => stream.append(text, [{ type: text }] as never, {} as never)),
      await messageOf(() => stream.loadOrThrow(text)),
      storageError('STORAGE_CORRUPT', text, { place: text }).message,
    ];
    expect(messages.filter((message) => control.test(message))).toEqual([]);
  });

  it('stands as escapes in the log of streams', () => {
    const logged: unknown[] = [];
    const log = (entry: unknown): void => void logged.push(entry);
    const logger = new StreamLogger({ log, debug: log, warn: log, error: log });
    logger.observe({ event: 'session expired', type: 'ledger', id: text, database: 'tenant:acme' } as never);
    const texts = Object.values(logged[0] as object).filter(
      (value): value is string => typeof value === 'string',
    );
    expect(texts.length).toBeGreaterThan(2);
    expect(texts.filter((each) => control.test(each))).toEqual([]);
  });

  it('is shown by `describe` without loss of what it is', () => {
    expect(inspect(text)).not.toMatch(control);
    expect(JSON.parse(inspect(text))).toBe(text);
  });
});
