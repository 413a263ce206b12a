/**
 * Two copies of the package in one process have two sets of classes. What is refused because of
 * that says so, and not that it is no store.
 */
import { expect, it } from '@jest/globals';
import { MemoryProvider } from '../providers/memory/memory-provider.js';
import { commitAtomic } from './store/atomic.js';
import { openStorage } from './store/open-storage.js';

class TypedStore {
  readonly of = 'another copy';
}
class Atomic {
  readonly of = 'another copy';
}
class Participant {
  readonly of = 'another copy';
}
class AppendParticipant extends Participant {}

it('a store, a batch and a part of another copy are refused with that reason', async () => {
  const storage = await openStorage(new MemoryProvider());
  const refused = {
    code: 'INVALID_OPTION',
    message: expect.stringContaining('another copy of @kvent/key-value-storage'),
  };
  expect(() => storage.atomic().set(new TypedStore() as never, 'a', 1)).toThrow(
    expect.objectContaining(refused),
  );
  expect(() => storage.atomic().include(new AppendParticipant() as never)).toThrow(
    expect.objectContaining(refused),
  );
  await expect(commitAtomic(new Atomic() as never, undefined, undefined)).rejects.toMatchObject(refused);
  for (const other of [{}, Object.create(null), null, undefined, 5, 'store'])
    expect(() => storage.atomic().set(other as never, 'a', 1)).toThrow(
      /^A batch takes stores of its own storage/,
    );
  await storage[Symbol.asyncDispose]();
});
