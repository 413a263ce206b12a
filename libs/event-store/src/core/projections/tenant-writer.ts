/**
 * Applies events of one tenant and one partition: their effects and the checkpoint are one batch,
 * which checks the version of the checkpoint. So each event counts once: of two writers that have
 * read the same checkpoint, one commits, and the other reads again. After a lost answer, the
 * checkpoint says whether the batch was committed; if it is committed later, the next one
 * conflicts.
 */
import type { AtomicBatch, Entry } from '@kvent/key-value-storage/core';
import { isConflict, isStorageError } from '@kvent/key-value-storage/core';
import { throwIfAborted, type FeedEntry, type FeedPosition } from '@kvent/key-value-storage/provider';
import { isPromise } from '@kvent/key-value-storage/internal';
import type { FeedEvent } from '../feed/event-feed.js';
import type { FeedSource } from '../feed/feed-source.js';
import { FeedReader, type UntypedStream } from '../feed/read-feed.js';
import type { ParkedRow } from './checkpoints.js';
import type { ParkedStream } from './projection-health.js';
import type { Subscription } from './subscription.js';
import { EventFailure, streamNameOf, TenantCheckpoint, type CheckpointContext } from './tenant-checkpoint.js';

/** What some events of one tenant do. */
export interface PartEffects {
  /** Whether another event may be too much for one commit. */
  readonly isFull: boolean;
  /** Rejects for an event that cannot be applied. */
  apply(event: FeedEvent<UntypedStream>): void | Promise<void>;
  /** Adds what belongs into the commit of the checkpoint; returns the number of changes. */
  addTo(batch: AtomicBatch, signal: AbortSignal): Promise<number>;
}

export interface WriterContext extends CheckpointContext {
  readonly source: FeedSource;
  readonly subscription: Subscription;
  readonly effects: (tenant: string | undefined) => PartEffects;
  /** The most events in one batch. */
  readonly batchEvents: number;
}

/** Whether the same events may be applied later without a change of the program. */
export const isTransient = (error: unknown): boolean =>
  isConflict(error) ||
  (isStorageError(error) && (error.retryable || error.effect === 'unknown' || error.code === 'ABORTED'));

const pageEvents = 1_000;
/** Conflicts in a row; each means that another writer has made progress. */
export const conflictsMax = 20;

/**
 * Events that the next batch has more than the one before, after one that did not fit. Where each
 * event has an entry of its own, twice as many would never fit.
 */
const growth = 64;

export class TenantWriter {
  readonly #context: WriterContext;
  protected readonly checkpoint: TenantCheckpoint;
  readonly #database: string;
  #size: number;

  constructor(context: WriterContext, database: string, partition: number) {
    this.#context = context;
    this.checkpoint = new TenantCheckpoint(context, database, partition);
    this.#database = database;
    this.#size = context.batchEvents;
  }

  /** Where the checkpoint is; `undefined` before the first effect. */
  async position(): Promise<FeedPosition | undefined> {
    return (await this.checkpoint.read()).position;
  }

  get parkedCount(): number | undefined {
    return this.checkpoint.parkedCount;
  }

  async parkedStreams(): Promise<readonly ParkedStream[]> {
    return await this.checkpoint.parkedStreams();
  }

  /** Forgets what was read, so that the checkpoint is read again. */
  forget(): void {
    this.checkpoint.forget();
  }

  /**
   * Applies those of the entries, in their order, that stand behind the checkpoint. Rejects with
   * `EventFailure` for an event that cannot be applied, once all before it are; with what the
   * storage rejects with, where the same call may succeed later.
   */
  async apply(entries: readonly FeedEntry[]): Promise<void> {
    let conflicts = 0;
    for (let rest = await this.#unapplied(entries); rest.length > 0;) {
      throwIfAborted('A projection', this.#context.signal);
      const part = rest.slice(0, this.#size);
      try {
        const applied = await this.#commit(part);
        // parts without effects move no checkpoint
        rest = rest.slice(applied);
        this.#size = Math.min(this.#size + growth, this.#context.batchEvents);
        conflicts = 0;
        continue;
      } catch (error) {
        this.forget();
        conflicts += 1;
        const isRepeated = isConflict(error) && conflicts < conflictsMax;
        if (!isRepeated) this.#size = halfOf(part, error);
      }
      rest = await this.#unapplied(rest);
    }
  }

  /**
   * Puts the stream of the event aside, and moves the checkpoint behind the event. `false` where
   * too many are.
   */
  async park(failure: EventFailure): Promise<boolean> {
    return await againAfterConflicts(async () => await this.checkpoint.park(failure));
  }

  /**
   * Applies what was put aside, each stream up to the checkpoint; the events after it follow as
   * usual. A stream with an event that still cannot be applied stays parked from there on.
   */
  async unparkAll(): Promise<void> {
    for (const name of (await this.checkpoint.readAgain()).parked.keys())
      try {
        await this.#unpark(name);
      } catch (error) {
        if (!(error instanceof EventFailure)) throw error;
        await againAfterConflicts(async () => await this.checkpoint.parkAgain(name, error));
      }
  }

  async #unpark(name: string): Promise<void> {
    const isReaction = this.#context.subscription.kind === 'reaction';
    let size = this.#context.batchEvents;
    // by a reaction, where the commit after its handlers conflicted: they are not called again
    let handled: { readonly etag: string; readonly upTo: FeedPosition } | undefined;
    for (let conflicts = 0; ;) {
      const known = await this.checkpoint.readAgain();
      const row = known.parked.get(name);
      if (row === undefined) return;
      const upTo = handled?.etag === row.etag ? handled.upTo : undefined;
      // the reader may have skipped more of the stream since: only then something is left
      const part = await (upTo === undefined
        ? this.#parkedEntries(row.value, known.position, size)
        : this.#parkedEntries({ ...row.value, after: upTo }, known.position, 0));
      try {
        const { effects, count } = await this.#effectsOf(part.entries, new Map());
        const isLast = part.isLast && count === part.entries.length;
        const applied = part.entries[count - 1]?.position ?? upTo;
        if (isReaction && applied !== undefined) handled = { etag: row.etag, upTo: applied };
        const batch = this.checkpoint.unparkBatch(known, row, isLast ? undefined : applied);
        await effects.addTo(batch, this.#context.signal);
        await batch.commit();
        if (isLast) return this.forget();
        conflicts = 0;
      } catch (error) {
        conflicts += 1;
        if (isConflict(error) && conflicts < conflictsMax) continue;
        size = halfOf(part.entries, error);
      }
    }
  }

  /**
   * Gives up what was put aside of a stream: these events never have an effect. `false` where
   * nothing has this id.
   */
  async discard(id: string): Promise<boolean> {
    return await againAfterConflicts(async () => {
      const known = await this.checkpoint.readAgain();
      const row = [...known.parked.values()].find(({ value }) => this.checkpoint.idOf(value) === id);
      if (row === undefined) return false;
      await this.checkpoint.unparkBatch(known, row, undefined).commit();
      this.forget();
      return true;
    });
  }

  /** The first of them, at most `size`. */
  async #parkedEntries(
    row: ParkedRow,
    upTo: FeedPosition | undefined,
    size: number,
  ): Promise<{ readonly entries: readonly FeedEntry[]; readonly isLast: boolean }> {
    const { source, signal } = this.#context;
    const name = streamNameOf(row);
    const found: FeedEntry[] = [];
    for (let after = row.after; ;) {
      const { entries, next, upToDate } = await source.page(after, pageEvents, signal, [this.#database]);
      for (const entry of entries) {
        const { address, position } = entry;
        if (upTo !== undefined && position > upTo) return { entries: found, isLast: true };
        if (streamNameOf(address) !== name || position < row.position) continue;
        if (found.length === size) return { entries: found, isLast: false };
        found.push(entry);
      }
      if (upToDate || (upTo !== undefined && next >= upTo)) return { entries: found, isLast: true };
      after = next;
    }
  }

  async #unapplied(entries: readonly FeedEntry[]): Promise<readonly FeedEntry[]> {
    const after = await this.position();
    return after === undefined ? entries : entries.filter(({ position }) => position > after);
  }

  /**
   * `count`: the first events that have their effects in one commit; `skipped`: whether one of them
   * belongs to a stream that is parked.
   */
  async #effectsOf(part: readonly FeedEntry[], parked: ReadonlyMap<string, Entry<ParkedRow>>) {
    const effects = this.#context.effects(this.checkpoint.tenant);
    const reader = new FeedReader(this.#context.source);
    let skipped = false;
    let count = 0;
    for (const entry of part) {
      if (effects.isFull) break;
      count += 1;
      if (parked.size > 0 && parked.has(streamNameOf(entry.address))) {
        skipped = true;
        continue;
      }
      const decoded = reader.item(entry);
      const item = isPromise(decoded) ? await decoded : decoded;
      if (item?.kind !== 'event') continue;
      const applied = effects.apply(item);
      if (applied !== undefined) await applied;
    }
    return { effects, skipped, count };
  }

  /** Returns how many events, the first ones, are applied. */
  async #commit(part: readonly FeedEntry[]): Promise<number> {
    const known = await this.checkpoint.read();
    const { parked } = known;
    const { effects, skipped, count } = await this.#effectsOf(part, parked);
    const { position } = part[count - 1] as FeedEntry;
    const batch = this.checkpoint.batch(known, position, parked.size);
    const changes = await effects.addTo(batch, this.#context.signal);
    // behind the checkpoint is what follows as usual: so skipped events move it too
    if (changes > 0 || skipped) await this.checkpoint.commit(batch, { ...known, position });
    return count;
  }
}

/** For work that reads the checkpoint itself: another writer has moved it. */
async function againAfterConflicts<R>(work: () => Promise<R>): Promise<R> {
  for (let conflicts = 1; ; conflicts += 1)
    try {
      return await work();
    } catch (error) {
      if (!isConflict(error) || conflicts >= conflictsMax) throw error;
    }
}

/**
 * Half of the part fits into the limits of a batch where the whole does not, and one of the halves
 * can be applied where an event of the other cannot. `EventFailure` for a single event.
 */
function halfOf(part: readonly FeedEntry[], error: unknown): number {
  const [first] = part;
  if (isTransient(error) || first === undefined) throw error;
  if (part.length === 1) throw new EventFailure(first, error);
  return Math.ceil(part.length / 2);
}
