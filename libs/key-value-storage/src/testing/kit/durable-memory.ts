/**
 * The correct provider on which the kit is proven: its rows stay in memory after it is closed, so
 * it is durable and shared without a disk. One `DurableMemory` is one machine; each of its
 * locations is a disk.
 */
import type { StorageProvider } from '../../core.js';
import { invalidOption, storageError } from '../../provider.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { delegating } from '../../core/providers/delegating.js';
import { MemoryTransaction } from './memory-transaction.js';
import type { CreateOptions, OpenTransaction, ProviderUnderTest } from './subject.js';

interface Disk {
  readonly memory: MemoryProvider;
  readonly opened: Promise<void>;
  damaged: boolean;
}

export class DurableMemory implements ProviderUnderTest {
  readonly #disks = new Map<string, Disk>();

  readonly create = ({ clock, location }: CreateOptions): StorageProvider => {
    const disk = this.#disks.get(location) ?? newDisk(clock);
    this.#disks.set(location, disk);
    return providerOn(disk);
  };

  readonly transaction = (location: string): OpenTransaction => {
    const memory = this.#disks.get(location)?.memory;
    if (memory === undefined) throw new Error(`There is no location '${location}'.`);
    const transaction = new MemoryTransaction(delegating(memory));
    return { transaction, commit: () => transaction.commit(), rollback: () => transaction.rollback() };
  };

  readonly damage = (location: string): void => {
    const disk = this.#disks.get(location);
    if (disk !== undefined) disk.damaged = true;
  };

  readonly dispose = (location: string): void => {
    this.#disks.delete(location);
  };
}

function newDisk(clock: CreateOptions['clock']): Disk {
  const memory = new MemoryProvider({ clock });
  return { memory, opened: memory.open(), damaged: false };
}

/**
 * A provider on a disk. While it is closed, its calls go to a `MemoryProvider` that is never
 * opened.
 */
function providerOn(disk: Disk): StorageProvider {
  const closed = delegating(new MemoryProvider());
  const open = delegating(disk.memory);
  let current = closed;
  let close = new AbortController();
  return {
    ...open,
    name: 'durable memory',
    features: { ...disk.memory.features, durable: 'fsync', shared: true },
    open: async () => {
      if (current === open) throw storageError('INVALID_STATE', 'This provider is already open.', {});
      await disk.opened;
      if (disk.damaged) throw storageError('STORAGE_CORRUPT', 'The memory is damaged.', { place: 'memory' });
      close = new AbortController();
      current = open;
    },
    close: async () => {
      close.abort();
      current = closed;
    },
    read: (addresses, options) => current.read(addresses, options),
    scan: (ranges, options) => current.scan(ranges, options),
    commit: (batches, options) => current.commit(batches, options),
    sweep: (limit) => current.sweep(limit),
    hints: (targets, signal) =>
      (current.hints as NonNullable<StorageProvider['hints']>)(
        targets,
        AbortSignal.any([signal, close.signal]),
      ),
    feed: (request) => (current.feed as NonNullable<StorageProvider['feed']>)(request),
    within: (transaction) => {
      if (!(transaction instanceof MemoryTransaction))
        throw invalidOption('within needs a transaction of this memory.');
      return transaction.provider();
    },
    administration: {
      databases: () => current.administration.databases(),
      spaces: (database) => current.administration.spaces(database),
      export: (database) => current.administration.export(database),
      import: (database, rows) => current.administration.import(database, rows),
      drop: (database) => current.administration.drop(database),
    },
  };
}
