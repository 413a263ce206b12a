import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { storageError } from '../base/errors.js';
import { ObservedProvider } from '../providers/observed-provider.js';

/** A provider in memory, and the operations that it was asked for. */
export function recordedProvider(): { readonly provider: ObservedProvider; readonly calls: string[] } {
  const calls: string[] = [];
  const provider = new ObservedProvider(new MemoryProvider(), {
    begin: ({ operation }) => {
      calls.push(operation);
      return () => undefined;
    },
  });
  return { provider, calls };
}

/** A provider in memory whose first commit is applied, and its answer lost. */
export function providerWithLostAnswer(): MemoryProvider {
  const provider = new MemoryProvider();
  const commit = provider.commit.bind(provider);
  let lost = 1;
  provider.commit = async (batches, options) => {
    const results = await commit(batches, options);
    if (lost-- <= 0) return results;
    const error = storageError('STORAGE_OUTCOME_UNKNOWN', 'The answer was lost.', {});
    return batches.map(() => ({ outcome: 'failed', error }));
  };
  return provider;
}
