/**
 * Applies events of one tenant and one partition: their effects and the checkpoint are one batch,
 * which checks the version of the checkpoint. So each event counts once: of two writers that have
 * read the same checkpoint, one commits, and the other reads again. After a lost answer, the
 * checkpoint says whether the batch was committed; if it is committed later, the next one
 * conflicts.
 */
import type { Key, KeyValueStorage, KeyValueStore } from '@kvent/key-value-storage/core';
import { isConflict, isStorageError } from '@kvent/key-value-storage/core';
import { throwIfAborted, type FeedEntry, type FeedPosition } from '@kvent/key-value-storage/provider';
import { isPromise, tenantIn } from '@kvent/key-value-storage/internal';
import type { FeedSource } from '../feed/feed-source.js';
import { FeedReader } from '../feed/read-feed.js';
import type { Checkpoint, Checkpoints } from './checkpoints.js';
import { Effects } from './effects.js';
import type { ProjectionHandler, ResolvedProjection } from './projection-definition.js';

export interface WriterContext {
  readonly storage: KeyValueStorage;
  readonly source: FeedSource;
  readonly checkpoints: Checkpoints;
  readonly projection: ResolvedProjection;
  readonly handler: ProjectionHandler;
  readonly signal: AbortSignal;
}

/** A checkpoint as it was read, or written here: the next batch checks its etag. */
interface KnownCheckpoint {
  readonly read: { readonly key: Key; readonly etag: string } | undefined;
  readonly position: FeedPosition | undefined;
}

/** An event that could not be applied; `cause`: why. */
export class EventFailure extends Error {
  readonly entry: FeedEntry;

  constructor(entry: FeedEntry, cause: unknown) {
    super('An event could not be applied.', { cause });
    this.entry = entry;
  }
}

/** Whether the same events may be applied later without a change of the program. */
export const isTransient = (error: unknown): boolean =>
  isConflict(error) ||
  (isStorageError(error) && (error.retryable || error.effect === 'unknown' || error.code === 'ABORTED'));

/** The most events in one batch. */
const eventsMax = 1_000;
/** Conflicts in a row; each means that another writer has made progress. */
const conflictsMax = 20;

export class TenantWriter {
  readonly #context: WriterContext;
  readonly #tenant: string | undefined;
  readonly #store: KeyValueStore<Checkpoint>;
  readonly #key: ReturnType<Checkpoints['key']>;
  /** `undefined`: not known. */
  #checkpoint: KnownCheckpoint | undefined;
  #size = eventsMax;

  constructor(context: WriterContext, database: string, partition: number) {
    this.#context = context;
    this.#tenant = tenantIn(database);
    this.#store = context.checkpoints.storeOf(database);
    this.#key = context.checkpoints.key('checkpoint', partition);
  }

  /** Where the checkpoint is; `undefined` before the first effect. */
  async position(): Promise<FeedPosition | undefined> {
    if (this.#checkpoint === undefined) {
      const entry = await this.#store.get(this.#key, { signal: this.#context.signal });
      this.#checkpoint = { read: entry, position: entry?.value.position };
    }
    return this.#checkpoint.position;
  }

  /** Forgets what was read, so that the checkpoint is read again. */
  forget(): void {
    this.#checkpoint = undefined;
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
        await this.#commit(part);
        // parts without effects move no checkpoint
        rest = rest.slice(part.length);
        this.#size = Math.min(2 * this.#size, eventsMax);
        conflicts = 0;
        continue;
      } catch (error) {
        this.forget();
        conflicts += 1;
        const isRepeated = isConflict(error) && conflicts < conflictsMax;
        if (!isRepeated) this.#shrink(part, error);
      }
      rest = await this.#unapplied(rest);
    }
  }

  /**
   * Half of the part fits into the limits of a batch where the whole does not, and one of the
   * halves can be applied where an event of the other cannot.
   */
  #shrink(part: readonly FeedEntry[], error: unknown): void {
    const [first] = part;
    if (isTransient(error) || first === undefined) throw error;
    if (part.length === 1) throw new EventFailure(first, error);
    this.#size = Math.ceil(part.length / 2);
  }

  async #unapplied(entries: readonly FeedEntry[]): Promise<readonly FeedEntry[]> {
    const after = await this.position();
    return after === undefined ? entries : entries.filter(({ position }) => position > after);
  }

  async #commit(part: readonly FeedEntry[]): Promise<void> {
    const { storage, source, projection, handler, signal } = this.#context;
    const effects = new Effects(projection, this.#tenant);
    const reader = new FeedReader(source);
    for (const entry of part) {
      const decoded = reader.item(entry);
      const item = isPromise(decoded) ? await decoded : decoded;
      if (item?.kind !== 'event') continue;
      const handled = handler(item, effects.context);
      if (handled !== undefined) await handled;
    }
    const batch = storage.atomic();
    const store = this.#store;
    const read = this.#checkpoint?.read;
    if (read === undefined) batch.checkAbsent(store, this.#key);
    else batch.check(store, read);
    const { position } = part.at(-1) as FeedEntry;
    batch.set(store, this.#key, { position });
    if ((await effects.addTo(batch, signal)) === 0) return;
    // without the signal: an aborted commit has an unknown outcome
    const { changes } = await batch.commit();
    const etag = changes[0]?.etag;
    this.#checkpoint = etag === undefined ? undefined : { read: { key: this.#key, etag }, position };
  }
}
