/**
 * The events of one tenant that are to be handled: which of them may begin, and how far all are
 * handled. An event begins after the one before it in its stream is stored as handled, and never
 * behind an event that has failed.
 */
import { feedStart, type FeedEntry, type FeedPosition } from '@kvent/key-value-storage/provider';
import type { FeedEvent } from '../feed/event-feed.js';
import type { UntypedStream } from '../feed/read-feed.js';
import { EventFailure, streamNameOf, type KnownCheckpoint } from '../projections/tenant-checkpoint.js';

/** `event`: `undefined` where it cannot be read; then `error` says why. */
export interface ReactionTask {
  readonly entry: FeedEntry;
  readonly stream: string;
  readonly event: FeedEvent<UntypedStream> | undefined;
  readonly error: unknown;
  /** 'handled': not stored yet. */
  state: 'waiting' | 'running' | 'handled' | 'stored' | 'failed';
}

export const taskOf = (
  entry: FeedEntry,
  event: ReactionTask['event'],
  error: unknown,
  isHandled: boolean,
): ReactionTask => ({
  entry,
  stream: streamNameOf(entry.address),
  event,
  error,
  state: isHandled ? 'handled' : 'waiting',
});

interface Waiter {
  readonly end: FeedPosition;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class ReactionQueue {
  /**
   * Those that take events here. One that belongs to a queue that was replaced may still wait for
   * its slot; it takes nothing from the next queue, and does not count there.
   */
  workers = 0;
  #tasks: ReactionTask[] = [];
  #parked: KnownCheckpoint['parked'] = new Map();
  #failure: { readonly task: ReactionTask; readonly cause: unknown } | undefined;
  #interruption: { readonly error: unknown } | undefined;
  /** Events that were taken, until they are stored or have failed. */
  #active = 0;
  #waiters: Waiter[] = [];

  get waiting(): number {
    return this.#tasks.filter(({ state }) => state === 'waiting').length;
  }

  add(tasks: readonly ReactionTask[]): void {
    this.#tasks.push(...tasks);
  }

  /**
   * Resolves when everything up to the position is stored. Rejects after a failure, once nothing
   * runs and all before it is stored: with `EventFailure` for an event, or with the error that has
   * interrupted it.
   */
  async whenStored(end: FeedPosition): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#waiters.push({ end, resolve, reject });
      this.#settle();
    });
  }

  /** The first event that may begin now; `release` when it has ended. */
  take(): ReactionTask | undefined {
    const task = this.#next();
    if (task === undefined) return undefined;
    task.state = 'running';
    this.#active += 1;
    return task;
  }

  release(): void {
    this.#active -= 1;
    this.#settle();
  }

  /** What the storage has: another worker may have gone on, and streams may be parked or not. */
  observe({ position, done, parked }: KnownCheckpoint): void {
    this.#parked = parked;
    for (const task of this.#tasks) {
      const own = task.entry.position;
      if (task.state === 'running' || task.state === 'failed') continue;
      if ((position !== undefined && own <= position) || done.has(own)) task.state = 'stored';
    }
    const isOver = ({ state, entry }: ReactionTask): boolean =>
      state === 'stored' && position !== undefined && entry.position <= position;
    this.#tasks = this.#tasks.filter((task) => !isOver(task));
    this.#settle();
  }

  /** An event that is before an earlier failure takes its place. */
  fail(task: ReactionTask, cause: unknown): void {
    task.state = 'failed';
    const { position } = task.entry;
    if (this.#failure === undefined || position < this.#failure.task.entry.position)
      this.#failure = { task, cause };
  }

  /** No event begins any more. */
  interrupt(error: unknown): void {
    this.#interruption ??= { error };
    this.#settle();
  }

  /**
   * The checkpoint with what is handled here: up to its position, all events are handled, or belong
   * to parked streams. `handled`: what is not stored yet; `undefined` where nothing is to be
   * stored.
   */
  progress(known: KnownCheckpoint) {
    const done = new Set(known.done);
    const handled: ReactionTask[] = [];
    let position = known.position ?? feedStart;
    let [isWhole, hasSkipped] = [true, false];
    for (const task of this.#tasks) {
      const own = task.entry.position;
      if (task.state === 'handled') {
        handled.push(task);
        done.add(own);
      }
      const isSkipped = task.state === 'waiting' && known.parked.has(task.stream);
      if (!isSkipped && !done.has(own) && task.state !== 'stored') isWhole = false;
      if (!isWhole || own <= position) continue;
      position = own;
      hasSkipped ||= isSkipped;
    }
    return handled.length === 0 && !hasSkipped ? undefined : { position, done, handled };
  }

  #next(): ReactionTask | undefined {
    if (this.#interruption !== undefined) return undefined;
    const blocked = new Set<string>();
    for (const task of this.#tasks) {
      if (task === this.#failure?.task) return undefined;
      if (task.state === 'stored') continue;
      if (task.state === 'waiting' && !blocked.has(task.stream) && !this.#parked.has(task.stream))
        return task;
      blocked.add(task.stream);
    }
    return undefined;
  }

  #settle(): void {
    const first = this.#tasks.find(({ state }) => state !== 'stored')?.entry.position;
    const isStored = ({ end }: Waiter): boolean => first === undefined || end < first;
    for (const waiter of this.#waiters) if (isStored(waiter)) waiter.resolve();
    this.#waiters = this.#waiters.filter((waiter) => !isStored(waiter));
    const error = this.#error;
    if (error === undefined || this.#active > 0 || this.#next() !== undefined) return;
    for (const { reject } of this.#waiters) reject(error);
    this.#waiters = [];
  }

  get #error(): unknown {
    if (this.#interruption !== undefined) return this.#interruption.error;
    return this.#failure && new EventFailure(this.#failure.task.entry, this.#failure.cause);
  }
}
