/**
 * A view of a provider: each call in a transaction of its own, through `within`. What holds outside
 * transactions has to hold there too.
 */
import type { StorageProvider } from '@kvent/key-value-storage';
import {
  numberChangeOf,
  type Batch,
  type CommitOptions,
  type CommitResult,
} from '@kvent/key-value-storage/provider';
import type { OpenTransaction } from '@kvent/key-value-storage/testing';

export function eachCallWithin(
  provider: StorageProvider,
  begin: () => Promise<OpenTransaction>,
): StorageProvider {
  const within = provider.within?.bind(provider);
  if (within === undefined) throw new Error(`${provider.name} has no transactions to join.`);

  const pending = new Set<Promise<unknown>>();

  /** The provider does not know of our transactions, and does not wait for them. */
  async function close(): Promise<void> {
    await Promise.allSettled(pending);
    await provider.close();
  }

  /** A batch that conflicts or is refused has done nothing, and is committed as that. */
  function inTransaction<R>(work: (inside: StorageProvider) => Promise<R>): Promise<R> {
    const call = runInTransaction(work);
    pending.add(call);
    return call.finally(() => pending.delete(call));
  }

  async function runInTransaction<R>(work: (inside: StorageProvider) => Promise<R>): Promise<R> {
    // before a connection is waited for: what is not open has to say so
    await provider.read([]);
    const { transaction, commit, rollback } = await begin();
    try {
      const answer = await work((within as NonNullable<typeof within>)(transaction));
      await commit();
      return answer;
    } catch (error) {
      await rollback();
      throw error;
    }
  }

  async function commitOne(batch: Batch, options?: CommitOptions): Promise<CommitResult> {
    const [result] = await inTransaction((inside) => inside.commit([batch], options));
    if (result === undefined) throw new Error('A batch was given no answer.');
    return result;
  }

  return {
    name: `${provider.name}, each call within a transaction`,
    get features() {
      return { ...provider.features, coalesce: false };
    },
    open: () => provider.open(),
    close,
    read: (addresses, options) => inTransaction((inside) => inside.read(addresses, options)),
    scan: (ranges, options) => inTransaction((inside) => inside.scan(ranges, options)),
    count: (range, options) =>
      inTransaction(async (inside) => (await inside.count?.(range, options)) ?? Number.NaN),
    commit: (batches, options) => {
      // changes of one number take effect in their order
      let before: Promise<unknown> = Promise.resolve();
      return Promise.all(
        batches.map((batch) => {
          if (numberChangeOf(batch) === undefined) return commitOne(batch, options);
          const result = before.then(() => commitOne(batch, options));
          before = result;
          return result;
        }),
      );
    },
    sweep: (limit) => provider.sweep(limit),
    within,
    ...(provider.feed === undefined ? {} : { feed: provider.feed.bind(provider) }),
    administration: provider.administration,
  };
}
