/**
 * Reads the feed for one partition, all tenants together, and passes the events of each tenant to
 * its writer. A tenant whose events cannot be applied is left behind: it is read by itself, from
 * where it is, and holds up no other tenant.
 */
import {
  feedStart,
  type FeedEntry,
  type FeedPage,
  type FeedPosition,
} from '@kvent/key-value-storage/provider';
import { backoffMs, FeedWatcher, PendingWork, tenantIn, withAbort } from '@kvent/key-value-storage/internal';
import { PagesAhead } from './pages-ahead.js';
import { PagesInFlight } from './pages-in-flight.js';
import { partitionOf } from './partition-of.js';
import type { BehindTenant } from './projection-health.js';
import { reasonOf } from './reason-of.js';
import { EventFailure } from './tenant-checkpoint.js';
import { isTransient, type TenantWriter, type WriterContext } from './tenant-writer.js';

export interface ReaderContext extends WriterContext {
  readonly retry: ProjectionRetry;
  readonly onError: 'stop' | 'park';
  readonly pageEvents: number;
  /** See `PagesAhead`. */
  readonly aheadEvents: number;
  /**
   * How many events may be in work: the next page does not wait for the one before it. 0: pages are
   * applied one after another.
   */
  readonly windowEvents: number;
  readonly writerOf: (database: string, partition: number) => TenantWriter;
  /** Called when the position moves, and when a tenant falls behind, stops or catches up. */
  readonly moved: () => void;
}

/** How often an event is tried again, and how long after: the delay doubles with each attempt. */
export interface ProjectionRetry {
  /** How often an event is tried in total, before its tenant stops. @default 5 */
  readonly attempts: number;
  /** Milliseconds of the first delay at most. @default 100 */
  readonly delayMs: number;
  /** Milliseconds of each delay at most. @default 5_000 */
  readonly delayMsMax: number;
}

/** Attempts of a storage that fails, before the tenant is read by itself. */
const inlineAttempts = 3;
const tenantsAtOnce = 16;
const writersMax = 10_000;
/** With more behind, the position waits for them: the row would not hold their names. */
const namesMax = 1_000;
/** Milliseconds that a full window waits for a tenant, before this one is read by itself. */
const slowMs = 1_000;
/** What a reader reads again after a crash, at most. */
const savedAfter = { entries: 10_000, pages: 100, idleMs: 1_000 };

interface LeftBehind {
  readonly writer: TenantWriter;
  state: BehindTenant['state'];
  error: unknown;
  /**
   * Its events up to here are done. Its checkpoint may be far before: events that had no effect
   * move none. They are not read again, because another release may have an effect for them.
   */
  doneTo: FeedPosition;
}

export class PartitionReader {
  readonly partition: number;
  readonly #context: ReaderContext;
  readonly #writers = new Map<string, TenantWriter>();
  readonly #behind = new Map<string, LeftBehind>();
  readonly #parkedIn = new Set<string>();
  #position: FeedPosition | undefined;
  /** The end of the page that is being applied: its events of tenants left behind are not. */
  #dispatched: FeedPosition | undefined;
  #saved: string | undefined;
  #unsaved = { entries: 0, pages: 0 };
  #isLoaded = false;
  #isSaving = false;
  readonly #work = new PendingWork();
  readonly #inFlight = new PagesInFlight((page) => this.#pass(page));

  constructor(context: ReaderContext, partition: number) {
    this.#context = context;
    this.partition = partition;
  }

  get position(): FeedPosition | undefined {
    return this.#position;
  }

  get behind(): readonly BehindTenant[] {
    return Array.from(this.#behind, ([database, { state, error }]) => behindTenant(database, state, error));
  }

  /** Databases with parked streams; streams that another process applies may still be counted. */
  get parkedIn(): readonly string[] {
    return [...this.#parkedIn].slice(0, namesMax);
  }

  /** Reads on until the signal aborts; rejects where the feed cannot be read. */
  async run(): Promise<void> {
    const { signal, pageEvents, aheadEvents, windowEvents } = this.#context;
    if (!this.#isLoaded) await this.#load();
    this.#isLoaded = true;
    const { watches } = this.#context.source.access;
    // pages in work go on, where the feed could not be read for a while
    const feed = { after: this.#dispatched, page: this.#page };
    const pages = new FeedWatcher<FeedPage>(watches, feed, { signal, recover: true }).iterator();
    const ahead = new PagesAhead(pages, { pageEvents, aheadEvents });
    try {
      for (let page = await ahead.next(); page !== undefined; page = await ahead.next())
        await (windowEvents === 0 ? this.#apply(page) : this.#dispatch(page));
    } finally {
      await pages.return?.();
      if (signal.aborted) await this.#work.settled();
    }
  }

  /** Writes where it is, for the next start. */
  async save(): Promise<void> {
    const position = this.#position;
    const behind = [...this.#behind.keys()];
    if (position === undefined || behind.length > namesMax) return;
    const { parkedIn } = this;
    const doneTo = Array.from(this.#behind.values(), (left) => left.doneTo);
    const state = [position, ...behind, ...doneTo, '', ...parkedIn].join('\0');
    if (state === this.#saved) return;
    this.#unsaved = { entries: 0, pages: 0 };
    const { checkpoints } = this.#context;
    await checkpoints.readers.set(checkpoints.key('reader', this.partition), {
      position,
      behind,
      ...(behind.length > 0 && { doneTo }),
      ...(parkedIn.length > 0 && { parkedIn }),
    });
    this.#saved = state;
  }

  /** Tries tenants that are stopped again, from where they are. */
  retry(database?: string): void {
    for (const [each, left] of this.#behind)
      if (left.state === 'stopped' && (database === undefined || each === database)) {
        left.state = 'retrying';
        left.error = undefined;
        void this.#work.track(this.#catchUp(each, left));
      }
  }

  readonly #page = async (after: FeedPosition | undefined, ended: AbortSignal) => {
    const page = await this.#context.source.page(after, this.#context.pageEvents, ended);
    return { items: [page], next: page.next, upToDate: page.upToDate };
  };

  async #load(): Promise<void> {
    const { checkpoints, signal } = this.#context;
    const stored = await checkpoints.readers.get(checkpoints.key('reader', this.partition), { signal });
    this.#position = this.#dispatched = stored?.value.position ?? (await checkpoints.begin());
    if (stored === undefined) return;
    for (const database of stored.value.parkedIn ?? []) this.#parkedIn.add(database);
    const { behind, doneTo = [] } = stored.value;
    for (const [index, database] of behind.entries())
      this.#leaveBehind(database, undefined, doneTo[index] ?? feedStart);
  }

  async #apply(page: FeedPage): Promise<void> {
    const { entries, next } = page;
    this.#dispatched = next;
    const groups = this.#byTenant(entries);
    for (let from = 0; from < groups.length; from += tenantsAtOnce)
      await Promise.all(
        groups
          .slice(from, from + tenantsAtOnce)
          .map(async ([database, own]) => await this.#applyTenant(database, own)),
      );
    this.#pass(page);
  }

  /** Begins to apply the page; waits only where too much is in work. */
  async #dispatch(page: FeedPage): Promise<void> {
    const { signal } = this.#context;
    await this.#makeRoom(page.entries.length);
    if (signal.aborted) return;
    this.#dispatched = page.next;
    const groups = this.#byTenant(page.entries);
    const databases = groups.map(([database]) => database);
    this.#inFlight.add(page, databases);
    for (const [database, own] of groups) {
      const apply = async (): Promise<void> => {
        await this.#applyTenant(database, own);
        if (!signal.aborted) this.#inFlight.done(page, database);
      };
      this.#inFlight.track(database, this.#work.track(apply()));
    }
  }

  async #makeRoom(count: number): Promise<void> {
    const { windowEvents, clock, signal } = this.#context;
    while (this.#inFlight.entries > 0 && this.#inFlight.entries + count > windowEvents && !signal.aborted) {
      const isLate = await this.#inFlight.waiters.join(
        async (changed) =>
          await withAbort(signal, async (own) => {
            const late = clock.wait(slowMs, own).then(
              () => true,
              () => false,
            );
            return await Promise.race([late, changed.then(() => false)]);
          }),
      );
      if (isLate) for (const database of this.#inFlight.slowest) this.#leaveBehind(database, undefined);
    }
  }

  #pass({ entries, next, upToDate }: FeedPage): void {
    if (this.#context.signal.aborted) return;
    this.#position = next;
    this.#context.moved();
    this.#unsaved.entries += entries.length;
    this.#unsaved.pages += 1;
    if (this.#unsaved.entries >= savedAfter.entries || this.#unsaved.pages >= savedAfter.pages)
      void this.#work.track(this.save().catch(() => this.#saveWhenIdle()));
    else if (upToDate) this.#saveWhenIdle();
  }

  /** Other processes wait for the position; one write for what comes within a second. */
  #saveWhenIdle(): void {
    const { clock, signal } = this.#context;
    if (this.#isSaving) return;
    this.#isSaving = true;
    const save = async (): Promise<void> => {
      await clock.wait(savedAfter.idleMs, signal);
      this.#isSaving = false;
      // tried again until it is stored, because nothing else may come
      await this.save().catch(() => this.#saveWhenIdle());
    };
    void this.#work.track(save().catch(() => (this.#isSaving = false)));
  }

  #byTenant(entries: readonly FeedEntry[]): readonly (readonly [string, readonly FeedEntry[]])[] {
    const { partitions } = this.#context.subscription;
    const groups = new Map<string, FeedEntry[]>();
    for (const entry of entries) {
      const { database } = entry.address;
      if (this.#behind.has(database) || partitionOf(entry.address, partitions) !== this.partition) continue;
      const group = groups.get(database);
      if (group === undefined) groups.set(database, [entry]);
      else group.push(entry);
    }
    return [...groups];
  }

  async #applyTenant(database: string, entries: readonly FeedEntry[]): Promise<void> {
    const { signal } = this.#context;
    const writer = this.#writerOf(database);
    const attempts = this.#context.windowEvents === 0 ? inlineAttempts : 1;
    for (let attempt = 1; ; attempt += 1)
      try {
        await writer.apply(entries);
        return this.#noteParked(database, writer);
      } catch (error) {
        if (signal.aborted) return;
        if (!isTransient(error) || attempt >= attempts)
          return this.#leaveBehind(database, error, doneBefore(error, entries));
        await this.#wait(attempt);
      }
  }

  #noteParked(database: string, { parkedCount }: TenantWriter): void {
    if (parkedCount === 0) this.#parkedIn.delete(database);
    else if (parkedCount !== undefined) this.#parkedIn.add(database);
  }

  #writerOf(database: string): TenantWriter {
    let writer = this.#writers.get(database);
    if (writer === undefined) {
      // a writer holds what it knows of its checkpoint, and its work
      if (this.#writers.size >= writersMax)
        for (const each of this.#writers.keys())
          if (!this.#inFlight.isWorkingFor(each)) this.#writers.delete(each);
      writer = this.#context.writerOf(database, this.partition);
      this.#writers.set(database, writer);
    }
    return writer;
  }

  /** `doneTo`: what all tenants are read to, where the position of this one is not known better. */
  #leaveBehind(database: string, error: unknown, doneTo = this.#position ?? feedStart): void {
    if (this.#behind.has(database)) return;
    const left: LeftBehind = { writer: this.#writerOf(database), state: 'retrying', error, doneTo };
    this.#behind.set(database, left);
    this.#inFlight.leave(database);
    this.#context.moved();
    void this.#work.track(this.#catchUp(database, left));
  }

  /** Reads one tenant until it has caught up, however often that fails. */
  async #catchUp(database: string, left: LeftBehind): Promise<void> {
    const { signal, retry, moved } = this.#context;
    await this.#inFlight.whenEnded(database);
    let last = positionOf(left.error);
    for (let attempt = left.error === undefined ? 0 : 1; !signal.aborted;) {
      const hasFailed = attempt >= retry.attempts && !isTransient(left.error);
      try {
        if (hasFailed) {
          if (!(await this.#park(left))) {
            this.#noteParked(database, left.writer);
            left.state = 'stopped';
            this.#saveWhenIdle();
            return moved();
          }
          [attempt, left.error] = [0, undefined];
        }
        if (attempt > 0) await this.#wait(attempt);
        await this.#readTenant(database, left);
        return moved();
      } catch (error) {
        left.error = error;
        const position = positionOf(error);
        attempt = position === last ? attempt + 1 : 1;
        last = position;
      }
    }
  }

  async #park({ writer, error }: LeftBehind): Promise<boolean> {
    if (this.#context.onError !== 'park' || !(error instanceof EventFailure)) return false;
    try {
      return await writer.park(error);
    } catch (refused) {
      // such as a row whose key is too long
      if (isTransient(refused)) throw refused;
      return false;
    }
  }

  /** Reads one tenant from where it is until it is where the reader of all tenants is. */
  async #readTenant(database: string, left: LeftBehind): Promise<void> {
    const { source, signal, pageEvents, subscription } = this.#context;
    const { partitions } = subscription;
    const { writer } = left;
    writer.forget();
    left.doneTo = later(left.doneTo, await writer.position());
    for (;;) {
      const { entries, next } = await source.page(left.doneTo, pageEvents, signal, [database]);
      const own = entries.filter(({ address }) => partitionOf(address, partitions) === this.partition);
      try {
        await writer.apply(own);
      } catch (error) {
        left.doneTo = later(left.doneTo, doneBefore(error, own));
        throw error;
      }
      left.doneTo = next;
      this.#saveWhenIdle();
      if (this.#dispatched !== undefined && next < this.#dispatched) continue;
      // without an await after the comparison: a page in between would leave its events out
      this.#noteParked(database, writer);
      this.#behind.delete(database);
      return;
    }
  }

  async #wait(attempt: number): Promise<void> {
    const { clock, retry, signal } = this.#context;
    await clock.wait(backoffMs(attempt, retry), signal).catch(() => undefined);
  }
}

const positionOf = (error: unknown): FeedPosition | undefined =>
  error instanceof EventFailure ? error.entry.position : undefined;

const later = (position: FeedPosition, other: FeedPosition | undefined): FeedPosition =>
  other !== undefined && other > position ? other : position;

/** A writer rejects with the failure of an event once all before it are done. */
function doneBefore(error: unknown, entries: readonly FeedEntry[]): FeedPosition | undefined {
  const failed = positionOf(error);
  return failed && entries.findLast(({ position }) => position < failed)?.position;
}

/** `error`: undefined where it is not known. */
export function behindTenant(database: string, state: BehindTenant['state'], error: unknown): BehindTenant {
  const cause = error instanceof EventFailure ? error.cause : error;
  const reason = cause === undefined ? 'it is being read' : reasonOf(cause);
  return {
    tenant: tenantIn(database),
    state,
    reason,
    error: cause,
    ...(error instanceof EventFailure && { event: error.event }),
  };
}
