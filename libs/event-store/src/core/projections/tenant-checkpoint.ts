/**
 * What is stored of a tenant and a partition: how far it was applied, and the streams that are put
 * aside. Each change is a batch that checks the version of the checkpoint and moves it, so of two
 * workers with the same checkpoint one commits. It does not depend on what the events change.
 */
import type { AtomicBatch, Entry, Key, KeyValueStorage, KeyValueStore } from '@kvent/key-value-storage/core';
import type { Address, Clock, FeedEntry, FeedPosition } from '@kvent/key-value-storage/provider';
import { decodeText, rowNameOf, tenantIn } from '@kvent/key-value-storage/internal';
import { numbersIn } from '../rows/stream-addresses.js';
import type { Checkpoint, Checkpoints, ParkedRow } from './checkpoints.js';
import type { ParkedStream } from './projection-health.js';
import { reasonOf } from './reason-of.js';

export interface CheckpointContext {
  readonly storage: KeyValueStorage;
  readonly checkpoints: Checkpoints;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /**
   * Rejects where the checkpoints are removed, because another generation has taken over: an absent
   * one does not mean the beginning then.
   */
  readonly assertCurrent?: (() => Promise<void>) | undefined;
}

/** A checkpoint as it was read, or written here: the next batch checks its etag. */
export interface KnownCheckpoint {
  readonly read: { readonly key: Key; readonly etag: string } | undefined;
  readonly position: FeedPosition | undefined;
  /** Events behind the position that have had their effects too. */
  readonly done: ReadonlySet<FeedPosition>;
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

  /** The event, for operators. */
  get event() {
    const { address, position } = this.entry;
    return { ...streamIn(address), version: numbersIn(address.key)?.[0] ?? 0, position };
  }
}

/** Parked streams of a tenant and a partition; with more, the tenant stops. */
const parkedMax = 1_000;

export const streamNameOf = ({ container, entity }: Pick<Address, 'container' | 'entity'>): string =>
  rowNameOf({ container, entity, key: '' });

/** Also what Kvent did not write has a name. */
const streamIn = ({ container, entity }: Pick<Address, 'container' | 'entity'>) => ({
  streamType: decodeText(container.replace(/^[^:]*:/, '')) ?? container,
  stream: decodeText(entity) ?? entity,
});

const failureOf = ({ event, cause }: EventFailure): Pick<ParkedRow, 'version' | 'reason'> => ({
  version: event.version,
  reason: reasonOf(cause),
});

export class TenantCheckpoint {
  /** `undefined`: shared streams. */
  readonly tenant: string | undefined;
  readonly #context: CheckpointContext;
  readonly #partition: number;
  readonly #store: KeyValueStore<Checkpoint>;
  readonly #parked: KeyValueStore<ParkedRow>;
  readonly #key: Key;
  /** `undefined`: not known. */
  #known: KnownCheckpoint | undefined;

  constructor(context: CheckpointContext, database: string, partition: number) {
    this.tenant = tenantIn(database);
    this.#context = context;
    this.#partition = partition;
    this.#store = context.checkpoints.storeOf(database);
    this.#parked = context.checkpoints.parkedOf(database);
    this.#key = context.checkpoints.key('checkpoint', partition);
  }

  /** How many streams are parked, as far as it is known here. */
  get parkedCount(): number | undefined {
    return this.#known?.parked.size;
  }

  /** Forgets what was read, so that the checkpoint is read again. */
  forget(): void {
    this.#known = undefined;
  }

  async read(): Promise<KnownCheckpoint> {
    if (this.#known !== undefined) return this.#known;
    const { signal, checkpoints, assertCurrent } = this.#context;
    const entry = await this.#store.get(this.#key, { signal });
    if (entry === undefined) await assertCurrent?.();
    const parked = new Map<string, Entry<ParkedRow>>();
    // after the checkpoint, which is checked: so they are those of its moment
    if (entry?.value.parked !== undefined)
      for await (const each of this.#parked.list(
        { prefix: checkpoints.parkedPrefix(this.#partition) },
        { signal },
      ))
        parked.set(streamNameOf(each.value), each);
    const position = entry?.value.position ?? (await checkpoints.begin());
    return (this.#known = { read: entry, position, done: new Set(entry?.value.done), parked });
  }

  async readAgain(): Promise<KnownCheckpoint> {
    this.forget();
    return await this.read();
  }

  /** A batch that moves the checkpoint, or fails where another worker has moved it. */
  batch({ read, done }: KnownCheckpoint, position: FeedPosition, parked: number): AtomicBatch {
    const batch = this.#context.storage.atomic();
    if (read === undefined) batch.checkAbsent(this.#store, this.#key);
    else batch.check(this.#store, read);
    const behind = [...done].filter((each) => each > position);
    batch.set(this.#store, this.#key, {
      position,
      ...(parked > 0 && { parked }),
      ...(behind.length > 0 && { done: behind }),
    });
    return batch;
  }

  /** Commits the batch, after which the position is known without another read. */
  async commit(batch: AtomicBatch, next: Omit<KnownCheckpoint, 'read'>): Promise<void> {
    // without the signal: an aborted commit has an unknown outcome
    const { changes } = await batch.commit();
    const etag = changes[0]?.etag;
    this.#known = etag === undefined ? undefined : { ...next, read: { key: this.#key, etag } };
  }

  /**
   * Puts the stream of the event aside, and moves the checkpoint behind the event. `false` where
   * too many are.
   */
  async park(failure: EventFailure): Promise<boolean> {
    const known = await this.readAgain();
    const { address, position } = failure.entry;
    // another worker has gone on
    if ((known.position !== undefined && known.position >= position) || known.done.has(position)) return true;
    if (known.parked.size >= parkedMax) return false;
    const batch = this.batch(known, position, known.parked.size + 1);
    const { container, entity } = address;
    batch.add(this.#parked, this.#parkedKey(address), {
      container,
      entity,
      ...(known.position !== undefined && { after: known.position }),
      position,
      ...failureOf(failure),
      parkedAt: new Date(this.#context.clock.now()),
    });
    await batch.commit();
    this.forget();
    return true;
  }

  /**
   * A batch that removes a parked stream, or moves it on behind `after`, which was applied. The
   * checkpoint is written again, so that a writer that has read older rows conflicts.
   */
  unparkBatch(known: KnownCheckpoint, row: Entry<ParkedRow>, after: FeedPosition | undefined): AtomicBatch {
    const isDone = after === undefined;
    const batch = this.batch(known, known.position as FeedPosition, known.parked.size - (isDone ? 1 : 0));
    batch.check(this.#parked, row);
    if (isDone) batch.delete(this.#parked, row.key);
    else batch.set(this.#parked, row.key, { ...row.value, after, position: after });
    return batch;
  }

  /** Stores at which event a parked stream has failed again. */
  async parkAgain(name: string, failure: EventFailure): Promise<void> {
    const known = await this.readAgain();
    const row = known.parked.get(name);
    // another call has removed it, or has gone on with it
    if (row === undefined || row.value.position > failure.entry.position) return;
    const failed = failureOf(failure);
    if (row.value.version === failed.version && row.value.reason === failed.reason) return;
    const batch = this.batch(known, known.position as FeedPosition, known.parked.size);
    batch.check(this.#parked, row);
    batch.set(this.#parked, row.key, { ...row.value, ...failed });
    await batch.commit();
    this.forget();
  }

  /** The streams that are put aside, for operators. */
  async parkedStreams(): Promise<readonly ParkedStream[]> {
    const { parked } = await this.readAgain();
    return Array.from(parked.values(), ({ value }) => ({
      id: this.idOf(value),
      tenant: this.tenant,
      ...streamIn(value),
      version: value.version,
      reason: value.reason,
      parkedAt: value.parkedAt,
    }));
  }

  idOf({ container, entity }: ParkedRow): string {
    return [this.#partition, container, entity].join('/');
  }

  #parkedKey({ container, entity }: Address): Key {
    // decoded, because a key encodes it again, and would be too long
    const { stream } = streamIn({ container, entity });
    return [...this.#context.checkpoints.parkedPrefix(this.#partition), container, stream];
  }
}
