/** How far a subscription is, over all processes, and what it is behind. */
import { feedStart, type FeedPosition } from '@kvent/key-value-storage/provider';
import type { FeedSource } from '../feed/feed-source.js';
import type { Checkpoints } from './checkpoints.js';
import { behindTenant, type PartitionReader } from './partition-reader.js';
import { partitionOf } from './partition-of.js';
import type { BehindTenant, ProjectionLag } from './projection-health.js';

/** Events that are visited for a lag, whichever partition they are of. */
const lagEventsMax = 10_000;
const pageEvents = 1_000;
/** Checkpoints that are read at the same time: one by one, a health check would not end in time. */
const readsAtOnce = 500;

type Progress = Pick<PartitionReader, 'position' | 'behind' | 'parkedIn'>;

interface ProgressContext {
  readonly source: FeedSource;
  readonly checkpoints: Checkpoints;
  readonly partitions: number;
  /** Of a partition that this process reads. */
  readonly readerOf: (partition: number) => PartitionReader | undefined;
  /** What a wait rejects with where an awaited tenant is stopped. */
  readonly stoppedError: (tenant: BehindTenant) => Error;
}

interface Awaited {
  readonly position: FeedPosition;
  readonly tenant: string | undefined;
  readonly signal: AbortSignal | undefined;
}

export class SubscriptionProgress {
  readonly #context: ProgressContext;

  constructor(context: ProgressContext) {
    this.#context = context;
  }

  /** Whether all events up to the position have had their effects. */
  async hasReached({ position, tenant, signal }: Awaited): Promise<boolean> {
    const isAwaited = (behind: { readonly tenant: string | undefined }): boolean =>
      tenant === undefined || behind.tenant === tenant;
    const partitions = await this.#read(signal);
    for (const { behind } of partitions) {
      const stopped = behind.find((each) => isAwaited(each) && each.state === 'stopped');
      if (stopped !== undefined) throw this.#context.stoppedError(stopped);
    }
    if (partitions.some(({ behind }) => behind.some(isAwaited))) return false;
    const [lowest] = partitions.map((each) => each.position ?? feedStart).toSorted();
    if (lowest !== undefined && lowest >= position) return true;
    // a reader moves when events come, so the end of the feed may be after its position
    const { entries, ...page } = await this.#context.source.page(lowest, 1, signal);
    const [first] = entries;
    if (first !== undefined) return first.position > position;
    if (page.next >= position) return true;
    // it ends before the position of an event that is held back, or has left the feed
    const isHeldBack = page.heldBackMs !== undefined && position <= (page.heldBackTo ?? position);
    return page.upToDate && !isHeldBack;
  }

  async lag(signal: AbortSignal | undefined): Promise<ProjectionLag> {
    const { source, partitions } = this.#context;
    const known = (await this.#read(signal)).map(({ position }) => position ?? '');
    let after: FeedPosition | undefined = known.toSorted()[0];
    if (after === '') after = undefined;
    let [events, visited] = [0, 0];
    /** The ages of the first event that is visited, and of the first that was not read. */
    let [visitedMs, ms] = [0, 0];
    for (;;) {
      const page = await source.page(after, pageEvents, signal);
      for (const { address, row, position } of page.entries) {
        const ageMs = Math.max(0, page.time - row.updatedAt);
        if (visited === 0) visitedMs = ageMs;
        visited += 1;
        if (position <= (known[partitionOf(address, partitions)] ?? '')) continue;
        if (events === 0) ms = ageMs;
        events += 1;
      }
      after = page.next;
      const { upToDate, heldBackMs } = page;
      if (!upToDate && visited < lagEventsMax) continue;
      // where the slowest partition has none of so many events, it has not moved since the first
      if (events === 0 && !upToDate) ms = visitedMs;
      return { events, ms, ...(heldBackMs !== undefined && { heldBackMs }) };
    }
  }

  async countParked(signal: AbortSignal | undefined): Promise<number> {
    const { checkpoints } = this.#context;
    const stored = (await this.#read(signal)).flatMap(({ parkedIn }, partition) =>
      parkedIn.map((database) => ({ database, key: checkpoints.key('checkpoint', partition) })),
    );
    let count = 0;
    for (let from = 0; from < stored.length; from += readsAtOnce) {
      const reads = stored
        .slice(from, from + readsAtOnce)
        .map(async ({ database, key }) => await checkpoints.storeOf(database).get(key, { signal }));
      for (const checkpoint of await Promise.all(reads)) count += checkpoint?.value.parked ?? 0;
    }
    return count;
  }

  /** Of each partition: what its reader here says, else what its reader has stored. */
  async #read(signal: AbortSignal | undefined): Promise<readonly Progress[]> {
    const { checkpoints, readerOf } = this.#context;
    const partitions = Array.from({ length: this.#context.partitions }, (_, index) => index);
    const elsewhere = partitions.filter((each) => readerOf(each) === undefined);
    const keys = elsewhere.map((each) => checkpoints.key('reader', each));
    const rows = keys.length === 0 ? [] : await checkpoints.readers.getMany(keys, { signal });
    return partitions.map((each) => {
      const reader = readerOf(each);
      if (reader !== undefined) return reader;
      const { position, behind = [], parkedIn = [] } = rows[elsewhere.indexOf(each)]?.value ?? {};
      return {
        position,
        behind: behind.map((database) => behindTenant(database, 'retrying', undefined)),
        parkedIn,
      };
    });
  }
}
