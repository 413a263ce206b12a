import type { StorageProvider } from '../port/storage-provider.js';

/** The members that a provider may lack, such as `feed`. */
type Optional = {
  [Member in keyof StorageProvider as undefined extends StorageProvider[Member] ? Member : never]-?:
    | StorageProvider[Member]
    | undefined;
};

/**
 * An object that calls the provider, with an own property for each member that the provider has.
 */
export function delegating(provider: StorageProvider): StorageProvider {
  return {
    name: provider.name,
    features: provider.features,
    administration: provider.administration,
    open: () => provider.open(),
    close: () => provider.close(),
    read: (addresses, options) => provider.read(addresses, options),
    scan: (ranges, options) => provider.scan(ranges, options),
    commit: (batches, options) => provider.commit(batches, options),
    sweep: (limit) => provider.sweep(limit),
    ...present({
      clock: provider.clock,
      count: provider.count?.bind(provider),
      within: provider.within?.bind(provider),
      transactions: provider.transactions,
      afterCommit: provider.afterCommit?.bind(provider),
      hints: provider.hints?.bind(provider),
      feed: provider.feed?.bind(provider),
    }),
  };
}

/** Its parameter names each optional member, so that a new one cannot be forgotten. */
const present = (members: Optional): Pick<StorageProvider, keyof Optional> =>
  Object.fromEntries(Object.entries(members).filter(([, member]) => member !== undefined));
