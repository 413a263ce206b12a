/** Runs one projection or reaction in this process, beside those of other processes. */
import type { KeyValueStorage } from '@kvent/key-value-storage/core';
import {
  invalidOption,
  invalidState,
  isFeedPosition,
  resolveOptions,
  throwIfAborted,
  type Clock,
  type FeedPosition,
} from '@kvent/key-value-storage/provider';
import {
  PendingWork,
  Waiters,
  assertOptions,
  databaseOf,
  inspect,
  sharedDatabase,
  withAbort,
} from '@kvent/key-value-storage/internal';
import { streamError } from '../definition/stream-errors.js';
import { FeedSource } from '../feed/feed-source.js';
import { Checkpoints } from './checkpoints.js';
import { PartitionLeases } from './partition-leases.js';
import { PartitionReader, type ProjectionRetry, type ReaderContext } from './partition-reader.js';
import type {
  BehindTenant,
  ParkedStream,
  PartitionHealth,
  ProjectionHealth,
  ProjectionLag,
} from './projection-health.js';
import type { Subscription } from './subscription.js';
import { SubscriptionProgress } from './subscription-progress.js';
import type { PartEffects, TenantWriter, WriterContext } from './tenant-writer.js';

export interface SubscriptionRunnerOptions {
  /** How often an event whose handler throws is tried again. */
  readonly retry?: Partial<ProjectionRetry> | undefined;
  /**
   * Milliseconds after which another process takes over the partitions of one that has ended
   * without releasing them. @default 10_000
   */
  readonly leaseTtlMs?: number | undefined;
  /**
   * After the last attempt of an event: 'stop' its tenant, or 'park' its stream, so that the tenant
   * goes on without it until `retryParked` or `discardParked`. @default 'stop'
   */
  readonly onError?: 'stop' | 'park' | undefined;
}

export interface ParkedOptions {
  /** @default the shared streams */
  readonly tenant?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CaughtUpOptions {
  /**
   * A position of the feed, as appends return it. @default that of the last event, also where an
   * open transaction holds it back
   */
  readonly position?: FeedPosition | undefined;
  /** Waits for this tenant only: others may be stopped. */
  readonly tenant?: string | undefined;
  /** @default 30_000 */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds before the feed is read again, at most, after it could not be read. */
const feedRetryMsMax = 5_000;
/** Milliseconds between two looks at the position of another process. */
const pollMs = 200;

interface RunningPartition {
  readonly reader: PartitionReader;
  readonly ending: AbortController;
  readonly done: Promise<void>;
  error: unknown;
}

/** What makes the difference between runners of projections and of reactions. */
interface RunnerKind {
  /** The first word of messages. */
  readonly owner: string;
  readonly retry: ProjectionRetry;
  /** The most events that are read at once. */
  readonly pageEvents: number;
  /** See `PagesAhead`. */
  readonly aheadEvents: number;
  /** See `ReaderContext`. */
  readonly windowEvents: number;
  /** The most events in one batch. */
  readonly batchEvents: number;
  /** Milliseconds that `stop` waits for what is running. @default until it has ended */
  readonly stopTimeoutMs?: number | undefined;
}

/** Whether this process may still work on a partition. */
export interface PartitionHold {
  /**
   * Resolves when no other process can have the partition; rejects once it is lost, and at `stop`.
   */
  readonly assert: () => Promise<void>;
  /** Another process has moved a checkpoint, so the clock of this one is not enough. */
  readonly doubt: () => void;
}

export abstract class SubscriptionRunner {
  readonly #kind: RunnerKind;
  readonly #subscription: Subscription;
  readonly #storage: KeyValueStorage;
  readonly #source: FeedSource;
  readonly #checkpoints: Checkpoints;
  readonly #leases: PartitionLeases;
  readonly #progress: SubscriptionProgress;
  readonly #retry: ProjectionRetry;
  readonly #leaseTtlMs: number;
  readonly #onError: 'stop' | 'park';
  readonly #running = new Map<number, RunningPartition>();
  /** Partitions that another process will take, once they are not read here any more. */
  readonly #leaving = new Set<number>();
  readonly #work = new PendingWork();
  readonly #stopping = new AbortController();
  /** Notified when a partition has moved here. */
  readonly #waiters = new Waiters();
  #started: Promise<void> | undefined;

  constructor(
    storage: KeyValueStorage,
    subscription: Subscription,
    kind: RunnerKind,
    { retry = {}, leaseTtlMs = 10_000, onError = 'stop' }: SubscriptionRunnerOptions,
  ) {
    const { owner } = kind;
    if (onError !== 'stop' && onError !== 'park')
      throw invalidOption(`${owner}: onError must be 'stop' or 'park'; got ${inspect(onError)}.`);
    this.#onError = onError;
    this.#kind = kind;
    this.#subscription = subscription;
    this.#storage = storage;
    this.#retry = resolveOptions(`${owner}: retry`, retry, kind.retry);
    if (!Number.isInteger(leaseTtlMs) || leaseTtlMs < 100)
      throw invalidOption(`${owner}: leaseTtlMs must be a whole number from 100; got ${leaseTtlMs}.`);
    this.#leaseTtlMs = leaseTtlMs;
    const { streams } = subscription;
    this.#source = new FeedSource(owner, storage, { streams, tenants: 'all' });
    this.#checkpoints = new Checkpoints(storage, subscription);
    this.#leases = new PartitionLeases(storage, subscription, leaseTtlMs, this.#clock);
    this.#progress = new SubscriptionProgress({
      source: this.#source,
      checkpoints: this.#checkpoints,
      partitions: subscription.partitions,
      readerOf: (partition) => this.#running.get(partition)?.reader,
      stoppedError: (tenant) => this.#stoppedError(tenant),
    });
  }

  /** What the events of a tenant do; `signal`: when it ends. */
  protected abstract effectsOn(
    context: Omit<WriterContext, 'effects'>,
  ): (tenant: string | undefined) => PartEffects;

  /** `hold`: of the partition that is read; absent for calls of operators, beside the readers. */
  protected abstract writersOn(
    context: WriterContext,
    hold?: PartitionHold,
  ): (database: string, partition: number) => TenantWriter;

  get name(): string {
    return this.#subscription.name;
  }

  /**
   * Begins, outside the async context of the caller, and resolves once this process has its share
   * of the partitions. `INVALID_STATE` when the same version was run with other streams or
   * partitions (a reaction: with other partitions), and after `stop`. After a failure, it may be
   * called again.
   */
  async start(): Promise<void> {
    if (this.#stopping.signal.aborted) throw invalidState(`${this.#what} was stopped; make another runner.`);
    this.#started ??= this.#source.access.detached(undefined, async () => {
      try {
        await this.#checkpoints.assertLayout(async () => await this.#source.end(this.#stopping.signal));
        await this.#balance();
      } catch (error) {
        this.#started = undefined;
        throw error;
      }
      void this.#work.track(this.#keepBalanced());
    });
    await this.#started;
  }

  /**
   * Ends after the batches or handlers in progress, and releases the partitions. A second call does
   * nothing.
   */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return await this.#orStopTimeout(this.#work.settled());
    this.#stopping.abort();
    await this.#started?.catch(() => undefined);
    const ended = Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.#orStopTimeout(ended.then(async () => await this.#work.settled()));
    // what is still running keeps its partition, and a storage that fails ends the leases by their
    // expiry
    await this.#leases.leave(new Set(this.#running.keys())).catch(() => undefined);
    this.#waiters.notify();
  }

  /**
   * Resolves when all events up to the position have had their effects, those of other processes
   * included; until then, the process stays alive. `PROJECTION_STOPPED` when a tenant is stopped at
   * an event that cannot be applied; `PROJECTION_BEHIND` after the timeout; `INVALID_POSITION`. Of
   * a reaction: `REACTION_STOPPED`, `REACTION_BEHIND`.
   */
  async whenCaughtUp(options: CaughtUpOptions = {}): Promise<void> {
    assertOptions('whenCaughtUp', options, ['position', 'tenant', 'timeoutMs', 'signal']);
    const { tenant, timeoutMs = 30_000, signal } = options;
    const position = options.position ?? (await this.#source.lastCommitted(signal));
    if (!isFeedPosition(position)) {
      const message = `whenCaughtUp: position must be one that an append or the feed has returned; got ${inspect(position)}.`;
      throw streamError('INVALID_POSITION', message, {});
    }
    const begun = this.#clock.monotonic();
    const hasReached = async (changed: Promise<void>): Promise<boolean> => {
      if (await this.#progress.hasReached({ position, tenant, signal })) return true;
      const leftMs = begun + timeoutMs - this.#clock.monotonic();
      if (leftMs <= 0 || this.#stopping.signal.aborted) {
        const why = leftMs <= 0 ? `did not reach the position in ${timeoutMs} ms` : 'was stopped';
        throw this.#behindError(why, position);
      }
      const ms = Math.min(pollMs, leftMs);
      await withAbort(signal, async (own) => await Promise.race([changed, this.#callersClock.wait(ms, own)]));
      return false;
    };
    for (let isReached = false; !isReached;) isReached = await this.#waiters.join(hasReached);
  }

  protected get healthOfPartitions(): Pick<ProjectionHealth, 'status' | 'partitions'> {
    const { partitions } = this.#subscription;
    const all = Array.from({ length: partitions }, (_, partition) => this.#healthOf(partition));
    const isDegraded = all.some(
      ({ state, behind }) => state === 'retrying' || behind.some((each) => each.state === 'stopped'),
    );
    return { status: isDegraded ? 'degraded' : 'up', partitions: all };
  }

  /**
   * How far it is behind the feed, over all processes: their positions are at most a second old.
   */
  async lag(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<ProjectionLag> {
    return await this.#progress.lag(options.signal);
  }

  /** Tries tenants that are stopped again, in this process; `tenant`: only this one. */
  retry(options: { readonly tenant?: string | undefined } = {}): void {
    const { tenant } = options;
    const database = tenant === undefined ? undefined : databaseOf(tenant);
    for (const { reader } of this.#running.values()) reader.retry(database);
  }

  /** The streams of a tenant that are put aside, of all partitions. */
  async parked(options: ParkedOptions = {}): Promise<readonly ParkedStream[]> {
    assertOptions('parked', options, ['tenant', 'signal']);
    const all = await Promise.all(
      this.#writersOf(options).map(async (writer) => await writer.parkedStreams()),
    );
    return all.flat();
  }

  /**
   * Applies what was put aside of a tenant, usually after a corrected release: each stream in its
   * order, exactly once, beside the readers of any process. Returns the streams that are still
   * parked, because an event of them still cannot be applied.
   */
  async retryParked(options: ParkedOptions = {}): Promise<readonly ParkedStream[]> {
    assertOptions('retryParked', options, ['tenant', 'signal']);
    for (const writer of this.#writersOf(options)) await writer.unparkAll();
    return await this.parked(options);
  }

  /**
   * Gives up what was put aside of a stream, by the `id` of `parked`: these events never have an
   * effect, and the next one of the stream has its own. `false` where nothing has this id.
   */
  async discardParked(id: string, options: ParkedOptions = {}): Promise<boolean> {
    assertOptions('discardParked', options, ['tenant', 'signal']);
    for (const writer of this.#writersOf(options)) if (await writer.discard(id)) return true;
    return false;
  }

  /**
   * How many streams are put aside, of all tenants and over all processes. Those that were parked
   * within the last second may be left out.
   */
  async countParked(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<number> {
    assertOptions('countParked', options, ['signal']);
    return await this.#progress.countParked(options.signal);
  }

  #writerContext(signal: AbortSignal): WriterContext {
    const common = {
      storage: this.#storage,
      source: this.#source,
      checkpoints: this.#checkpoints,
      subscription: this.#subscription,
      batchEvents: this.#kind.batchEvents,
      clock: this.#clock,
      signal,
    };
    return { ...common, effects: this.effectsOn(common) };
  }

  #writersOf({ tenant, signal = this.#stopping.signal }: ParkedOptions): readonly TenantWriter[] {
    const writerOf = this.writersOn(this.#writerContext(signal));
    const database = tenant === undefined ? sharedDatabase : databaseOf(tenant);
    const { partitions } = this.#subscription;
    return Array.from({ length: partitions }, (_, partition) => writerOf(database, partition));
  }

  /** For work in the background, which does not keep the process alive. */
  get #clock(): Clock {
    return this.#source.access.watches.clock;
  }

  /** For what a caller awaits: until then, the process stays alive. */
  get #callersClock(): Clock {
    return this.#source.access.clock;
  }

  async #keepBalanced(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#clock.wait(this.#leaseTtlMs / 3, signal).catch(() => undefined);
      // what cannot be renewed is held until its time is over; the next round tries it again
      if (!signal.aborted) await this.#balance().catch(() => this.#endExpiring());
    }
  }

  async #balance(): Promise<void> {
    const excess = await this.#leases.balance();
    this.#endLost();
    for (const partition of excess) if (!this.#leaving.has(partition)) this.#leave(partition);
    for (const partition of this.#leases.held)
      if (!this.#running.has(partition) && !this.#leaving.has(partition)) this.#startPartition(partition);
  }

  /** Releases the partition once it is not read any more; until then, its lease is renewed. */
  #leave(partition: number): void {
    this.#leaving.add(partition);
    const running = this.#running.get(partition);
    running?.ending.abort();
    const release = async (): Promise<void> => {
      await running?.done;
      // a lease that cannot be released expires
      await this.#leases.release(partition).catch(() => undefined);
      this.#leaving.delete(partition);
    };
    void this.#work.track(release());
  }

  #endExpiring(): void {
    this.#endLost();
    const { signal } = this.#stopping;
    for (const partition of this.#leases.held) {
      const end = async (): Promise<void> => {
        await this.#clock.wait(Math.ceil(this.#leases.leftMs(partition)) + 1, signal);
        this.#endLost();
      };
      void this.#work.track(end().catch(() => undefined));
    }
  }

  #endLost(): void {
    const { held } = this.#leases;
    for (const [partition, { ending }] of this.#running) if (!held.has(partition)) ending.abort();
  }

  #startPartition(partition: number): void {
    const ending = new AbortController();
    // oxlint-disable-next-line no-restricted-properties -- once for a partition that is taken
    const signal = AbortSignal.any([this.#stopping.signal, ending.signal]);
    const writerContext = this.#writerContext(signal);
    const context: ReaderContext = {
      ...writerContext,
      writerOf: this.writersOn(writerContext, this.#holdOf(partition, signal)),
      pageEvents: this.#kind.pageEvents,
      aheadEvents: this.#kind.aheadEvents,
      windowEvents: this.#kind.windowEvents,
      retry: this.#retry,
      onError: this.#onError,
      moved: () => this.#waiters.notify(),
    };
    const reader = new PartitionReader(context, partition);
    const done = (async (): Promise<void> => {
      await this.#read(reader, signal, (error) => (running.error = error));
      await reader.save().catch(() => undefined);
      this.#running.delete(partition);
      this.#waiters.notify();
    })();
    const running: RunningPartition = { reader, ending, done, error: undefined };
    this.#running.set(partition, running);
  }

  #holdOf(partition: number, signal: AbortSignal): PartitionHold {
    let isDoubted = false;
    return {
      doubt: () => (isDoubted = true),
      assert: async () => {
        const isHeld = async (): Promise<boolean> =>
          this.#leases.isHeld(partition) && (!isDoubted || (await this.#leases.isStored(partition, signal)));
        while (!(await isHeld())) await this.#clock.wait(this.#leaseTtlMs / 10, signal);
        throwIfAborted(this.#what, signal);
        isDoubted = false;
      },
    };
  }

  /** Begins again where the feed cannot be read. */
  async #read(reader: PartitionReader, signal: AbortSignal, report: (error: unknown) => void): Promise<void> {
    // the caller registers the reader first
    await Promise.resolve();
    while (!signal.aborted)
      try {
        await reader.run();
        if (!signal.aborted) return;
      } catch (error) {
        if (signal.aborted) return;
        report(error);
        this.#waiters.notify();
        const ms = Math.min(this.#retry.delayMsMax, feedRetryMsMax);
        await this.#clock.wait(ms, signal).catch(() => undefined);
        report(undefined);
      }
  }

  #healthOf(partition: number): PartitionHealth {
    const running = this.#running.get(partition);
    if (running === undefined) {
      const isRunning = this.#started !== undefined && !this.#stopping.signal.aborted;
      return { partition, state: isRunning ? 'waiting' : 'stopped', position: undefined, behind: [] };
    }
    const { reader, error } = running;
    const { position, behind } = reader;
    if (error === undefined) return { partition, state: 'running', position, behind };
    return { partition, state: 'retrying', position, behind, error };
  }

  get #what(): string {
    return `The ${this.#subscription.kind} '${this.name}'`;
  }

  #stoppedError({ tenant, event, error }: BehindTenant): Error {
    const at =
      event === undefined ? '' : ` at ${event.streamType} ${inspect(event.stream)}, version ${event.version}`;
    const message = `${this.#what} is stopped${at}.`;
    const init = { cause: error };
    return this.#subscription.kind === 'projection'
      ? streamError('PROJECTION_STOPPED', message, { projection: this.name, tenant }, init)
      : streamError('REACTION_STOPPED', message, { reaction: this.name, tenant }, init);
  }

  #behindError(why: string, position: FeedPosition): Error {
    const message = `${this.#what} ${why}.`;
    return this.#subscription.kind === 'projection'
      ? streamError('PROJECTION_BEHIND', message, { projection: this.name, position })
      : streamError('REACTION_BEHIND', message, { reaction: this.name, position });
  }

  async #orStopTimeout(work: Promise<void>): Promise<void> {
    const { stopTimeoutMs } = this.#kind;
    if (stopTimeoutMs === undefined) return await work;
    const ended = new AbortController();
    const timeout = this.#callersClock.wait(stopTimeoutMs, ended.signal).catch(() => undefined);
    await Promise.race([work, timeout]);
    ended.abort();
  }
}
