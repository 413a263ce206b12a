/**
 * Applies events of one tenant and one partition: their effects and the checkpoint are one batch,
 * which checks the version of the checkpoint. So each event counts once: of two writers that have
 * read the same checkpoint, one commits, and the other reads again. After a lost answer, the
 * checkpoint says whether the batch was committed; if it is committed later, the next one
 * conflicts.
 */
import type { AtomicBatch, Entry, Key, KeyValueStorage, KeyValueStore } from '@kvent/key-value-storage/core';
import { isConflict, isStorageError } from '@kvent/key-value-storage/core';
import {
  throwIfAborted,
  type Address,
  type FeedEntry,
  type FeedPosition,
} from '@kvent/key-value-storage/provider';
import { decodeText, isPromise, messageOf, rowNameOf, tenantIn } from '@kvent/key-value-storage/internal';
import { FeedSource } from '../feed/feed-source.js';
import { FeedReader } from '../feed/read-feed.js';
import { numbersIn } from '../rows/stream-addresses.js';
import type { Checkpoint, Checkpoints, ParkedRow } from './checkpoints.js';
import { Effects } from './effects.js';
import type { ParkedStream } from './projection-health.js';
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
  /** By the names of their streams. */
  readonly parked: ReadonlyMap<string, Entry<ParkedRow>>;
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
/** Parked streams of a tenant and a partition; with more, the tenant stops. */
const parkedMax = 1_000;

export const streamNameOf = ({ container, entity }: Pick<Address, 'container' | 'entity'>): string =>
  rowNameOf({ container, entity, key: '' });

export class TenantWriter {
  readonly #context: WriterContext;
  readonly #tenant: string | undefined;
  readonly #store: KeyValueStore<Checkpoint>;
  readonly #parked: KeyValueStore<ParkedRow>;
  readonly #key: ReturnType<Checkpoints['key']>;
  readonly #database: string;
  readonly #partition: number;
  /** `undefined`: not known. */
  #checkpoint: KnownCheckpoint | undefined;
  #size = eventsMax;

  constructor(context: WriterContext, database: string, partition: number) {
    this.#context = context;
    this.#tenant = tenantIn(database);
    this.#database = database;
    this.#partition = partition;
    this.#store = context.checkpoints.storeOf(database);
    this.#parked = context.checkpoints.parkedOf(database);
    this.#key = context.checkpoints.key('checkpoint', partition);
  }

  /** Where the checkpoint is; `undefined` before the first effect. */
  async position(): Promise<FeedPosition | undefined> {
    return (await this.#known()).position;
  }

  /** The streams that are put aside, by their names. */
  async parked(): Promise<KnownCheckpoint['parked']> {
    return (await this.#known()).parked;
  }

  /** The same for operators. */
  async parkedStreams(): Promise<readonly ParkedStream[]> {
    const rows = [...(await this.parked()).values()];
    return rows.map(({ value }) => ({
      id: this.idOf(value),
      tenant: this.#tenant,
      streamType: decodeText(value.container.replace(/^[^:]*:/, '')) ?? value.container,
      stream: decodeText(value.entity) ?? value.entity,
      version: value.version,
      reason: value.reason,
      parkedAt: value.parkedAt,
    }));
  }

  idOf({ container, entity }: ParkedRow): string {
    return [this.#partition, container, entity].join('/');
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

  async #known(): Promise<KnownCheckpoint> {
    if (this.#checkpoint !== undefined) return this.#checkpoint;
    const { signal, checkpoints } = this.#context;
    const entry = await this.#store.get(this.#key, { signal });
    const parked = new Map<string, Entry<ParkedRow>>();
    // after the checkpoint, which is checked: so they are those of its moment
    if (entry?.value.parked !== undefined)
      for await (const each of this.#parked.list(
        { prefix: checkpoints.parkedPrefix(this.#partition) },
        { signal },
      ))
        parked.set(streamNameOf(each.value), each);
    return (this.#checkpoint = { read: entry, position: entry?.value.position, parked });
  }

  /**
   * Puts the stream of the event aside, and moves the checkpoint behind the event. `false` where
   * too many are.
   */
  async park({ entry, cause }: EventFailure): Promise<boolean> {
    this.forget();
    const known = await this.#known();
    const { address, position } = entry;
    // another worker has gone on
    if (known.position !== undefined && known.position >= position) return true;
    if (known.parked.size >= parkedMax) return false;
    const batch = this.#batch(known, position, known.parked.size + 1);
    const { container, entity } = address;
    batch.add(this.#parked, this.#parkedKey(address), {
      container,
      entity,
      ...(known.position !== undefined && { after: known.position }),
      position,
      version: numbersIn(address.key)?.[0] ?? 0,
      reason: messageOf(cause),
      parkedAt: new Date(this.#context.source.access.watches.clock.now()),
    });
    await batch.commit();
    this.forget();
    return true;
  }

  /**
   * Applies what was put aside of a stream, up to the checkpoint; the events after it follow as
   * usual. `false` where the stream is not parked. Rejects with `EventFailure`, once all before it
   * are applied.
   */
  async unpark(name: string): Promise<boolean> {
    let size = eventsMax;
    for (let conflicts = 0; ;) {
      this.forget();
      const known = await this.#known();
      const row = known.parked.get(name);
      if (row === undefined) return conflicts > 0;
      const part = await this.#parkedEntries(row.value, known.position, size);
      try {
        if (await this.#commitParked(known, row, part)) return true;
      } catch (error) {
        conflicts += 1;
        if (isConflict(error) && conflicts < conflictsMax) continue;
        const [first] = part.entries;
        if (isTransient(error) || first === undefined) throw error;
        if (part.entries.length === 1) throw new EventFailure(first, error);
        size = Math.ceil(part.entries.length / 2);
      }
    }
  }

  /** Forgets what was put aside of a stream: these events never have an effect. */
  async discard(name: string): Promise<boolean> {
    for (let conflicts = 0; ; conflicts += 1) {
      this.forget();
      const known = await this.#known();
      const row = known.parked.get(name);
      if (row === undefined) return false;
      try {
        return await this.#commitParked(known, row, { entries: [], isLast: true });
      } catch (error) {
        if (!isConflict(error) || conflicts >= conflictsMax) throw error;
      }
    }
  }

  #parkedKey({ container, entity }: Address): Key {
    return [...this.#context.checkpoints.parkedPrefix(this.#partition), container, entity];
  }

  /** The first of them, at most `size`. */
  async #parkedEntries(
    row: ParkedRow,
    upTo: FeedPosition | undefined,
    size: number,
  ): Promise<{ readonly entries: readonly FeedEntry[]; readonly isLast: boolean }> {
    const { storage, projection, signal } = this.#context;
    const tenants = this.#tenant === undefined ? [] : [this.#tenant];
    const source = new FeedSource('A projection', storage, { streams: projection.streams, tenants });
    const name = streamNameOf(row);
    const found: FeedEntry[] = [];
    for (let after = row.after; ;) {
      const { entries, next, upToDate } = await source.page(after, eventsMax, signal);
      for (const entry of entries) {
        const { address, position } = entry;
        if (upTo !== undefined && position > upTo) return { entries: found, isLast: true };
        if (address.database !== this.#database || streamNameOf(address) !== name) continue;
        if (position < row.position) continue;
        if (found.length === size) return { entries: found, isLast: false };
        found.push(entry);
      }
      if (upToDate || (upTo !== undefined && next >= upTo)) return { entries: found, isLast: true };
      after = next;
    }
  }

  /** Returns whether the stream is no longer parked. */
  async #commitParked(
    known: KnownCheckpoint,
    row: Entry<ParkedRow>,
    { entries, isLast }: { readonly entries: readonly FeedEntry[]; readonly isLast: boolean },
  ): Promise<boolean> {
    const { effects } = await this.#effectsOf(entries, new Map());
    const position = known.position as FeedPosition;
    const batch = this.#batch(known, position, known.parked.size - (isLast ? 1 : 0));
    const after = entries.at(-1)?.position;
    batch.check(this.#parked, row);
    if (isLast || after === undefined) batch.delete(this.#parked, row.key);
    else batch.set(this.#parked, row.key, { ...row.value, after, position: after });
    await effects.addTo(batch, this.#context.signal);
    await batch.commit();
    this.forget();
    return isLast;
  }

  #batch({ read }: KnownCheckpoint, position: FeedPosition, parked: number): AtomicBatch {
    const batch = this.#context.storage.atomic();
    if (read === undefined) batch.checkAbsent(this.#store, this.#key);
    else batch.check(this.#store, read);
    batch.set(this.#store, this.#key, { position, ...(parked > 0 && { parked }) });
    return batch;
  }

  /** `skipped`: whether an event belongs to a stream that is parked. */
  async #effectsOf(part: readonly FeedEntry[], parked: KnownCheckpoint['parked']) {
    const { source, projection, handler } = this.#context;
    const effects = new Effects(projection, this.#tenant);
    const reader = new FeedReader(source);
    let skipped = false;
    for (const entry of part) {
      if (parked.size > 0 && parked.has(streamNameOf(entry.address))) {
        skipped = true;
        continue;
      }
      const decoded = reader.item(entry);
      const item = isPromise(decoded) ? await decoded : decoded;
      if (item?.kind !== 'event') continue;
      const handled = handler(item, effects.context);
      if (handled !== undefined) await handled;
    }
    return { effects, skipped };
  }

  async #commit(part: readonly FeedEntry[]): Promise<void> {
    const known = await this.#known();
    const { parked } = known;
    const { effects, skipped } = await this.#effectsOf(part, parked);
    const { position } = part.at(-1) as FeedEntry;
    const batch = this.#batch(known, position, parked.size);
    const effectCount = await effects.addTo(batch, this.#context.signal);
    // behind the checkpoint is what follows as usual: so skipped events move it too
    if (effectCount === 0 && !skipped) return;
    // without the signal: an aborted commit has an unknown outcome
    const { changes } = await batch.commit();
    const etag = changes[0]?.etag;
    this.#checkpoint = etag === undefined ? undefined : { read: { key: this.#key, etag }, position, parked };
  }
}
