import { beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { storageError } from '../base/errors.js';
import { ObservedProvider, type StorageCall, type StorageCallEnd } from './observed-provider.js';
import type { Batch, CommitResult } from '../port/storage-provider.js';

const address = { container: 'state:s', entity: 'e', key: 'k' };
const batch = (version: string, expected: 'absent' | 'present'): Batch => ({
  database: 'shared',
  version,
  checks: [{ address, expected }],
  changes: [{ kind: 'put', address, value: { kind: 'json', text: '1' }, ttl: 'never' }],
});

let seen: (StorageCall & StorageCallEnd)[];
let time: number;
const clock = { now: () => 0, monotonic: () => (time += 5), wait: () => Promise.resolve() };
const observer = {
  begin: (call: StorageCall) => (end: StorageCallEnd) => void seen.push({ ...call, ...end }),
};
beforeEach(() => {
  seen = [];
  time = 0;
});

describe('An observed provider', () => {
  it('reports the operation, its duration and the number of conflicts of each call', async () => {
    const provider = new ObservedProvider(new MemoryProvider(), observer, clock);
    await provider.open();
    const results = await provider.commit([batch('1', 'absent')]);
    expect(results).toMatchObject([{ outcome: 'committed' }]);
    await provider.commit([batch('2', 'absent')]);
    await provider.read([{ database: 'shared', ...address }]);
    await provider.sweep(10);
    expect(seen).toEqual([
      { provider: 'memory', operation: 'commit', size: 1, durationMs: 5, conflicts: 0, errors: [] },
      { provider: 'memory', operation: 'commit', size: 1, durationMs: 5, conflicts: 1, errors: [] },
      { provider: 'memory', operation: 'read', size: 1, durationMs: 5, conflicts: 0, errors: [] },
      { provider: 'memory', operation: 'sweep', size: 10, durationMs: 5, conflicts: 0, errors: [] },
    ]);
  });

  it('reports the code of an error, and rejects with the error', async () => {
    const provider = new ObservedProvider(new MemoryProvider(), observer);
    await expect(provider.read([])).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    expect(seen).toMatchObject([{ operation: 'read', errors: ['STORAGE_NOT_OPEN'] }]);
  });

  it('reports the codes of batches that failed within their group', async () => {
    class Failing extends MemoryProvider {
      override async commit(): Promise<readonly CommitResult[]> {
        return [
          {
            outcome: 'failed',
            error: storageError('STORAGE_OUTCOME_UNKNOWN', 'connection lost', {}, { effect: 'unknown' }),
          },
        ];
      }
    }
    await new ObservedProvider(new Failing(), observer).commit([batch('1', 'absent')]);
    expect(seen).toMatchObject([{ errors: ['STORAGE_OUTCOME_UNKNOWN'], conflicts: 0 }]);
  });

  it.each([
    [
      'begin',
      () => {
        throw new Error('observer');
      },
    ],
    [
      'end',
      () => () => {
        throw new Error('observer');
      },
    ],
  ])('works also when the observer throws at the %s', async (_, begin) => {
    const provider = new ObservedProvider(new MemoryProvider(), { begin });
    await provider.open();
    expect(await provider.commit([batch('1', 'absent')])).toMatchObject([{ outcome: 'committed' }]);
  });

  it('observes the calls within a transaction too, and has no `within` if the provider has none', () => {
    expect(new ObservedProvider(new MemoryProvider(), observer).within).toBeUndefined();
    const inner = Object.assign(new MemoryProvider(), { within: () => new MemoryProvider() });
    expect(new ObservedProvider(inner, observer).within?.({})).toBeInstanceOf(ObservedProvider);
  });
});
