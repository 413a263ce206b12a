/**
 * What the kit is proven on: memory that outlives its providers, so that an honest provider can
 * claim to be durable and shared without a disk. One `DurableMemory` is one machine; each of its
 * locations is a disk.
 */
import type { StorageProvider } from '../../core.js';
import { invalidOption, storageError } from '../../provider.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { delegating } from './broken-providers.js';
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
    return survivor(disk);
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
 * A provider over a disk. Open or not is its own affair: a `MemoryProvider` that is never opened
 * answers for it while it is closed.
 */
function survivor(disk: Disk): StorageProvider {
  const closed = delegating(new MemoryProvider());
  const open = delegating(disk.memory);
  let now = closed;
  let close = new AbortController();
  return {
    ...open,
    name: 'durable memory',
    features: { ...disk.memory.features, durable: 'fsync', shared: true },
    open: async () => {
      if (now === open) throw storageError('INVALID_STATE', 'This provider is already open.', {});
      await disk.opened;
      if (disk.damaged)
        throw storageError('STORAGE_CORRUPT', 'The memory is damaged.', { place: 'all of it' });
      close = new AbortController();
      now = open;
    },
    close: async () => {
      close.abort();
      now = closed;
    },
    read: (addresses, options) => now.read(addresses, options),
    scan: (ranges, options) => now.scan(ranges, options),
    commit: (batches, options) => now.commit(batches, options),
    sweep: (limit) => now.sweep(limit),
    hints: (spaces, signal) =>
      (now.hints as NonNullable<StorageProvider['hints']>)(spaces, AbortSignal.any([signal, close.signal])),
    within: (transaction) => {
      if (!(transaction instanceof MemoryTransaction))
        throw invalidOption('within takes a transaction of this memory.');
      return transaction.provider();
    },
    administration: {
      databases: () => now.administration.databases(),
      spaces: (database) => now.administration.spaces(database),
      export: (database) => now.administration.export(database),
      import: (database, rows) => now.administration.import(database, rows),
      drop: (database) => now.administration.drop(database),
    },
  };
}
