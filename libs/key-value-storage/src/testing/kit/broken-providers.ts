/** Providers with one deliberate defect each, to prove that a clause can fail. */
import type { StorageProvider, Clock } from '../../core.js';
import { delegating } from '../../core/providers/delegating.js';
import type {
  Batch,
  Change,
  CommitResult,
  ReadResult,
  Row,
  RowAddress,
  ScanPage,
  ScanRange,
} from '../../provider.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';

/**
 * Wraps a correct provider. `fault` names the defect: 'a provider that …'. `clock` is the clock of
 * the correct provider.
 */
export type BrokenProvider = ((provider: StorageProvider, clock: Clock) => StorageProvider) & {
  readonly fault: string;
};

/** A broken provider: the members that `change` returns replace those of the correct provider. */
export function breaks(
  fault: string,
  change: (provider: StorageProvider) => Partial<StorageProvider>,
): BrokenProvider {
  return Object.assign((provider: StorageProvider) => ({ ...delegating(provider), ...change(provider) }), {
    fault,
  });
}

/** A provider in memory with a changed clock. */
export function changesClock(fault: string, change: (clock: Clock) => Clock): BrokenProvider {
  const broken = (provider: StorageProvider, clock: Clock): StorageProvider => ({
    ...delegating(new MemoryProvider({ clock: change(clock) })),
    features: provider.features,
  });
  return Object.assign(broken, { fault });
}

/** Passes changed batches to the provider. */
export const changesBatches = (fault: string, change: (batch: Batch) => Batch): BrokenProvider =>
  breaks(fault, (provider) => ({
    commit: (batches, options) => provider.commit(batches.map(change), options),
  }));

/** Passes batches with changed changes to the provider. */
export const changesChanges = (
  fault: string,
  change: (change: Change, batch: Batch) => Change,
): BrokenProvider =>
  changesBatches(fault, (batch) => ({ ...batch, changes: batch.changes.map((each) => change(each, batch)) }));

/** Uses changed addresses in batches, reads and scans, so that two addresses can be one row. */
export const changesAddresses = (
  fault: string,
  change: <A extends RowAddress>(address: A) => A,
): BrokenProvider =>
  breaks(fault, (provider) => ({
    read: (addresses, options) => provider.read(addresses.map(change), options),
    scan: (ranges, options) =>
      provider.scan(
        ranges.map(({ start, end, ...range }) => ({
          ...change({ ...range, key: 'any' }),
          ...bounds(start, end),
        })),
        options,
      ),
    count: async ({ start, end, ...range }, options) =>
      await countOf(provider)({ ...change({ ...range, key: 'any' }), ...bounds(start, end) }, options),
    commit: (batches, options) =>
      provider.commit(
        batches.map((batch) => withAddresses(batch, change)),
        options,
      ),
  }));

const countOf = (provider: StorageProvider): NonNullable<StorageProvider['count']> =>
  (provider.count as NonNullable<StorageProvider['count']>).bind(provider);

const bounds = (start: string | undefined, end: string | undefined): Partial<ScanRange> => ({
  ...(start === undefined ? {} : { start }),
  ...(end === undefined ? {} : { end }),
});

const withAddresses = (batch: Batch, change: <A extends RowAddress>(address: A) => A): Batch => ({
  ...batch,
  checks: batch.checks.map((check) => ({ ...check, address: change(check.address) })),
  changes: batch.changes.map((each) => ({ ...each, address: change(each.address) })),
});

/** Returns changed rows from reads and scans. */
export const changesRows = (fault: string, change: (row: Row) => Row | undefined): BrokenProvider =>
  breaks(fault, (provider) => ({
    read: async (addresses, options) => {
      const { time, rows } = await provider.read(addresses, options);
      return { time, rows: rows.map((row) => row && change(row)) };
    },
    scan: async (ranges, options) =>
      (await provider.scan(ranges, options)).map((page) => pageOf(page, change)),
  }));

function pageOf(page: ScanPage, change: (row: Row) => Row | undefined): ScanPage {
  const rows = page.rows.flatMap(({ key, row }) => {
    const changed = change(row);
    return changed === undefined ? [] : [{ key, row: changed }];
  });
  return { ...page, rows };
}

/** Returns changed results from reads. */
export const changesReads = (fault: string, change: (result: ReadResult) => ReadResult): BrokenProvider =>
  breaks(fault, (provider) => ({
    read: async (addresses, options) => change(await provider.read(addresses, options)),
  }));

/** Returns changed pages from scans. */
export const changesPages = (
  fault: string,
  change: (page: ScanPage, range: ScanRange) => ScanPage,
): BrokenProvider =>
  breaks(fault, (provider) => ({
    scan: async (ranges, options) =>
      (await provider.scan(ranges, options)).map((page, index) => change(page, ranges[index] as ScanRange)),
  }));

/** Scans changed ranges. */
export const changesRanges = (fault: string, change: (range: ScanRange) => ScanRange): BrokenProvider =>
  breaks(fault, (provider) => ({ scan: (ranges, options) => provider.scan(ranges.map(change), options) }));

/** Commits, and returns changed results. */
export const changesResults = (
  fault: string,
  change: (result: CommitResult, batch: Batch) => CommitResult,
): BrokenProvider =>
  breaks(fault, (provider) => ({
    commit: async (batches, options) =>
      (await provider.commit(batches, options)).map((result, index) =>
        change(result, batches[index] as Batch),
      ),
  }));

/** Replaces the commit of each batch. */
export const replacesCommit = (
  fault: string,
  commit: (batch: Batch, provider: StorageProvider) => Promise<CommitResult>,
): BrokenProvider =>
  breaks(fault, (provider) => ({
    commit: (batches) => Promise.all(batches.map((batch) => commit(batch, provider))),
  }));

/** Commits one batch. */
export async function commitOne(provider: StorageProvider, batch: Batch): Promise<CommitResult> {
  const [result] = await provider.commit([batch]);
  return result as CommitResult;
}

/** Computes numbers outside the engine: reads, adds and puts. */
export const calculatesOutside = (fault: string): BrokenProvider =>
  replacesCommit(fault, async (batch, provider) => {
    const changes = await Promise.all(
      batch.changes.map(async (change) => await computed(change, batch, provider)),
    );
    return await commitOne(provider, { ...batch, changes });
  });

async function computed(change: Change, { database }: Batch, provider: StorageProvider): Promise<Change> {
  if (change.kind !== 'sum' && change.kind !== 'min' && change.kind !== 'max') return change;
  const { rows } = await provider.read([{ ...change.address, database }]);
  const old = rows[0]?.value.kind === 'number' ? rows[0].value.number : 0n;
  const { operand, kind } = change;
  const result = kind === 'sum' ? old + operand : operand < old === (kind === 'min') ? operand : old;
  return { kind: 'put', address: change.address, value: { kind: 'number', number: result }, ttl: 'never' };
}
