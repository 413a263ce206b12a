/**
 * Runs one projection in this process, beside those of other processes: the live generation, and
 * the one that is built beside it, until that takes over.
 */
import {
  isStorageError,
  type Key,
  type KeyValueStorage,
  type StateClass,
  type StateDefinition,
} from '@kvent/key-value-storage/core';
import {
  type Clock,
  type FeedPosition,
  invalidOption,
  invalidState,
} from '@kvent/key-value-storage/provider';
import {
  PendingWork,
  RecentMap,
  SerialQueue,
  assertOptions,
  inspect,
  timerMsMax,
} from '@kvent/key-value-storage/internal';
import { streamError } from '../definition/stream-errors.js';
import { FeedSource } from '../feed/feed-source.js';
import { Checkpoints } from './checkpoints.js';
import { GenerationRunner } from './generation-runner.js';
import { GenerationStates } from './generation-states.js';
import { GenerationsRow, leaveMs, type Build, type Generations } from './generations.js';
import { LiveStore, type ProjectedStore } from './live-store.js';
import {
  projectionDefinitionOf,
  type ProjectionDefinition,
  type ResolvedProjection,
} from './projection-definition.js';
import type { ParkedStream, ProjectionBuild, ProjectionHealth, ProjectionLag } from './projection-health.js';
import { removeGeneration } from './remove-generation.js';
import type { CaughtUpOptions, ParkedOptions, SubscriptionRunnerOptions } from './subscription-runner.js';

export interface ProjectionRunnerOptions extends SubscriptionRunnerOptions {
  /**
   * Milliseconds that the states of a former build stay after a switch, for lists that are being
   * read. @default 60_000
   */
  readonly keepOldMs?: number | undefined;
}

/** Milliseconds that one attempt of a switch waits until the new build has caught up. */
const switchMs = 5_000;
/** Milliseconds between two looks at the row of the generations, while a call waits for it. */
const pollMs = 200;
/** Generations that are looked at without being run: the live one, and the last that were built. */
const viewsMax = 4;

export class ProjectionRunner {
  readonly #projection: ResolvedProjection;
  readonly #storage: KeyValueStorage;
  readonly #options: SubscriptionRunnerOptions;
  readonly #roundMs: number;
  readonly #keepOldMs: number;
  readonly #source: FeedSource;
  readonly #generations: GenerationsRow;
  /** Of the generations that this process works on. */
  readonly #running = new Map<number, GenerationRunner>();
  /** Of those that it only looks at. */
  readonly #views = new RecentMap<number, GenerationRunner>(viewsMax);
  /** Since when a generation is known to be old, by the monotonic clock. */
  readonly #oldSince = new Map<number, number>();
  readonly #work = new PendingWork();
  readonly #following = new SerialQueue();
  readonly #stopping = new AbortController();
  #row: Generations | undefined;
  #started: Promise<void> | undefined;

  /**
   * `INVALID_OPTION`; `STORAGE_UNSUPPORTED` where the provider of the streams has no feed.
   */
  constructor(
    storage: KeyValueStorage,
    projection: ProjectionDefinition,
    options: ProjectionRunnerOptions = {},
  ) {
    assertOptions('ProjectionRunner', options, ['retry', 'leaseTtlMs', 'onError', 'keepOldMs']);
    const { keepOldMs = 60_000, ...others } = options;
    if (!Number.isInteger(keepOldMs) || keepOldMs < leaveMs || keepOldMs > timerMsMax)
      throw invalidOption(
        `ProjectionRunner: keepOldMs must be a whole number of milliseconds from ${leaveMs}, below 2^31; got ${inspect(keepOldMs)}.`,
      );
    this.#projection = projectionDefinitionOf(projection);
    this.#storage = storage;
    this.#options = others;
    this.#roundMs = (others.leaseTtlMs ?? 10_000) / 3;
    this.#keepOldMs = keepOldMs;
    const { streams } = this.#projection;
    this.#source = new FeedSource('ProjectionRunner', storage, { streams, tenants: 'all' });
    this.#generations = new GenerationsRow(storage, this.#projection, this.#clock);
    // its options are checked here
    this.#views.set(1, this.#runnerOf({ generation: 1, version: this.#projection.version }));
  }

  get name(): string {
    return this.#projection.name;
  }

  /**
   * Begins, outside the async context of the caller, and resolves once this process has its share
   * of the partitions. A version that is newer than the live one is built beside it.
   * `INVALID_STATE` when the same version was run with other streams or partitions, and after
   * `stop`. After a failure, it may be called again.
   */
  async start(): Promise<void> {
    if (this.#stopping.signal.aborted)
      throw invalidState(`The projection '${this.name}' was stopped; make another runner.`);
    this.#started ??= this.#source.access.detached(undefined, async () => {
      try {
        await this.#follow(await this.#generations.join());
      } catch (error) {
        this.#started = undefined;
        throw error;
      }
      void this.#work.track(this.#keepFollowing());
    });
    await this.#started;
  }

  /**
   * Ends after the batches in progress, and releases the partitions. A second call does nothing.
   */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#started?.catch(() => undefined);
    await this.#work.settled();
    await Promise.all([...this.#running.values()].map(async (runner) => await runner.stop()));
  }

  /**
   * Resolves when all events up to the position have had their effects on what `store` reads, those
   * of other processes included. `PROJECTION_STOPPED` when a tenant is stopped at an event that
   * cannot be applied; `PROJECTION_BEHIND` after the timeout; `INVALID_POSITION`.
   */
  async whenCaughtUp(options: CaughtUpOptions = {}): Promise<void> {
    assertOptions('whenCaughtUp', options, ['position', 'tenant', 'timeoutMs', 'signal']);
    const { tenant, timeoutMs = 30_000, signal } = options;
    const position = options.position ?? (await this.#source.lastCommitted(signal));
    const until = this.#clock.monotonic() + timeoutMs;
    for (;;) {
      const before = await this.#generations.read(signal);
      // in slices, because another generation may become the live one
      const hasReached = await this.#haveReached(awaitedIn(before), until, { position, tenant, signal });
      const after = await this.#generations.read(signal);
      if (hasReached && isAwaitedSame(before, after)) return;
      if (this.#stopping.signal.aborted) throw this.#behind('was stopped', position);
      if (!hasReached && this.#clock.monotonic() >= until)
        throw this.#behind(`did not reach the position in ${timeoutMs} ms`, position);
    }
  }

  /**
   * Reads a state of the projection: always of the live build, whole, also while another one is
   * built or removed. The tenant is the current one, as for any store.
   */
  store<T, K extends Key>(
    // oxlint-disable-next-line typescript/no-explicit-any -- with any input and indexes
    state: StateDefinition<T, K, any, any> | StateClass<T, K, any, any>,
  ): ProjectedStore<T, K> {
    const store = this.#storage.store(state as unknown as StateDefinition<T, K>);
    return new LiveStore<T, K>(this.#storage, this.#generations, this.name, store);
  }

  /**
   * Builds the states again, from the first event, beside those that are read; the new ones take
   * over when they have caught up. It is done by all processes that run the projection, also after
   * a restart. A call while this version is built does nothing more. `INVALID_STATE` where another
   * version is live or built.
   */
  async rebuild(): Promise<void> {
    const row = await this.#generations.rebuild();
    if (this.#started !== undefined && !this.#stopping.signal.aborted) await this.#follow(row);
  }

  /**
   * Resolves when nothing is built any more, in any process: what is live now is the newest build.
   * Until then, the process stays alive. `PROJECTION_BEHIND` after the timeout.
   */
  async whenRebuilt(
    options: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    assertOptions('whenRebuilt', options, ['timeoutMs', 'signal']);
    const { timeoutMs = 30_000, signal } = options;
    const until = this.#clock.monotonic() + timeoutMs;
    for (;;) {
      const { building } = await this.#generations.read(signal);
      if (building === undefined) return;
      const leftMs = until - this.#clock.monotonic();
      if (leftMs <= 0 || this.#stopping.signal.aborted)
        throw this.#behind(`was not rebuilt in ${timeoutMs} ms`, await this.#source.end(signal));
      await this.#callersClock.wait(Math.min(pollMs, leftMs), signal);
    }
  }

  /**
   * How far a build has come that is not live yet, and which former ones are still being removed;
   * over all processes.
   */
  async builds(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ProjectionBuild[]> {
    assertOptions('builds', options, ['signal']);
    const { signal } = options;
    const { live, building, isSwitching, old } = await this.#generations.read(signal);
    const builds: ProjectionBuild[] = [{ ...live, state: 'live' }];
    if (building !== undefined) {
      const lag = await (await this.#viewOf(building, signal)).lag({ signal });
      builds.push({ ...building, state: isSwitching === true ? 'switching' : 'building', lag });
    }
    for (const { generation, version, isRemoving } of old)
      builds.push({ generation, version, state: isRemoving === true ? 'removing' : 'kept' });
    return builds;
  }

  /** What this process knows. For operators: it names tenants. */
  health(): ProjectionHealth {
    const { version } = this.#projection;
    const all = [...this.#running.values()].map((runner) => runner.health());
    const status = all.some((each) => each.status === 'degraded') ? 'degraded' : 'up';
    const own = this.#own.health();
    const isIdle = this.#row !== undefined && all.length === 0 && !this.#stopping.signal.aborted;
    if (!isIdle) return { ...own, version, status };
    // processes of another release have all partitions
    const partitions = own.partitions.map((each) => ({ ...each, state: 'waiting' }) as const);
    return { ...own, version, status, partitions };
  }

  /**
   * How far what `store` reads is behind the feed, over all processes: their positions are at most
   * a second old.
   */
  async lag(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<ProjectionLag> {
    const { live } = await this.#generations.read(options.signal);
    return await (await this.#viewOf(live, options.signal)).lag(options);
  }

  /** Tries tenants that are stopped again, in this process; `tenant`: only this one. */
  retry(options: { readonly tenant?: string | undefined } = {}): void {
    for (const runner of this.#running.values()) runner.retry(options);
  }

  /** The streams of a tenant that are put aside, of all partitions. */
  async parked(options: ParkedOptions = {}): Promise<readonly ParkedStream[]> {
    return await (await this.#ownOf(options)).parked(options);
  }

  /**
   * Applies what was put aside of a tenant, usually after a corrected release: each stream in its
   * order, exactly once, beside the readers of any process. Returns the streams that are still
   * parked, because an event of them still cannot be applied.
   */
  async retryParked(options: ParkedOptions = {}): Promise<readonly ParkedStream[]> {
    return await (await this.#ownOf(options)).retryParked(options);
  }

  /**
   * Gives up what was put aside of a stream, by the `id` of `parked`: these events never have an
   * effect, and the next one of the stream has its own. `false` where nothing has this id.
   */
  async discardParked(id: string, options: ParkedOptions = {}): Promise<boolean> {
    return await (await this.#ownOf(options)).discardParked(id, options);
  }

  /**
   * How many streams are put aside, of all tenants and over all processes. Those that were parked
   * within the last second may be left out.
   */
  async countParked(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<number> {
    return await (await this.#ownOf(options)).countParked(options);
  }

  /** For work in the background, which does not keep the process alive. */
  get #clock(): Clock {
    return this.#source.access.watches.clock;
  }

  /** For what a caller awaits: until then, the process stays alive. */
  get #callersClock(): Clock {
    return this.#source.access.clock;
  }

  #runnerOf(build: Build, partitions = this.#projection.partitions): GenerationRunner {
    const subscription = { ...this.#projection, ...build, partitions };
    const assertCurrent = async (): Promise<void> => {
      const { live, building } = await this.#generations.recent();
      if (build.generation !== live.generation && build.generation !== building?.generation)
        throw invalidState(`Another build of the projection '${this.name}' has taken over.`);
    };
    return new GenerationRunner(this.#storage, subscription, { ...this.#options, assertCurrent });
  }

  /** Of a generation that may belong to another release, with other partitions. */
  async #viewOf(build: Build, signal: AbortSignal | undefined): Promise<GenerationRunner> {
    const known = this.#running.get(build.generation) ?? this.#views.get(build.generation);
    if (known !== undefined) return known;
    let partitions: number | undefined;
    if (build.version !== this.#projection.version)
      partitions = await this.#checkpointsOf(build).storedPartitions(signal);
    const view = this.#runnerOf(build, partitions);
    if (partitions !== undefined || build.version === this.#projection.version)
      this.#views.set(build.generation, view);
    return view;
  }

  #checkpointsOf(build: Build): Checkpoints {
    return new Checkpoints(this.#storage, { ...this.#projection, ...build });
  }

  /** The live generation, where its version is that of this runner; else the one that is built. */
  get #own(): GenerationRunner {
    const { generation } = this.#row === undefined ? { generation: 1 } : this.#ownBuild(this.#row);
    return (
      this.#running.get(generation) ??
      this.#views.get(generation) ??
      this.#runnerOf({ generation, version: this.#projection.version })
    );
  }

  async #ownOf({ signal }: { readonly signal?: AbortSignal | undefined }): Promise<GenerationRunner> {
    return await this.#viewOf(this.#ownBuild(await this.#generations.read(signal)), signal);
  }

  #ownBuild({ live, building }: Generations): Build {
    const { version } = this.#projection;
    return building !== undefined && live.version !== version && building.version === version
      ? building
      : live;
  }

  async #haveReached(
    builds: readonly Build[],
    until: number,
    options: Omit<CaughtUpOptions, 'timeoutMs'>,
  ): Promise<boolean> {
    for (const build of builds) {
      const view = await this.#viewOf(build, options.signal);
      const leftMs = Math.max(0, until - this.#clock.monotonic());
      try {
        await view.whenCaughtUp({ ...options, timeoutMs: Math.min(leftMs, this.#roundMs) });
      } catch (error) {
        if (isStorageError(error, 'PROJECTION_BEHIND')) return false;
        throw error;
      }
    }
    return true;
  }

  #behind(why: string, position: FeedPosition): Error {
    return streamError('PROJECTION_BEHIND', `The projection '${this.name}' ${why}.`, {
      projection: this.name,
      position,
    });
  }

  /** Works on the generations of this version: the live one, and the one that is built. */
  async #follow(row: Generations): Promise<void> {
    await this.#following.run(async () => await this.#startAndStop(row));
  }

  async #startAndStop(row: Generations): Promise<void> {
    this.#row = row;
    const { version } = this.#projection;
    const own = [row.live, row.building].filter((build) => build?.version === version);
    for (const [generation, runner] of this.#running)
      if (!own.some((build) => build?.generation === generation)) {
        this.#running.delete(generation);
        await runner.stop();
      }
    for (const build of own) {
      if (build === undefined || this.#running.has(build.generation)) continue;
      const runner = this.#runnerOf(build);
      this.#running.set(build.generation, runner);
      try {
        await runner.start();
      } catch (error) {
        this.#running.delete(build.generation);
        await runner.stop();
        throw error;
      }
    }
  }

  async #keepFollowing(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#clock.wait(this.#roundMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      // what fails is tried again in the next round
      await this.#round(signal).catch(() => undefined);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    let row = await this.#generations.read(signal);
    await this.#follow(row);
    const { building } = row;
    if (building !== undefined && this.#running.has(building.generation)) {
      row = await this.#switchTo(building, signal);
      await this.#follow(row);
    }
    // another process may have removed them
    for (const generation of this.#oldSince.keys())
      if (!row.old.some((old) => old.generation === generation)) this.#oldSince.delete(generation);
    for (const old of row.old) await this.#removeOld(old, signal);
  }

  /**
   * Before the switch, waits for the projection wait for both builds. So the new one has what every
   * wait that has ended was for.
   */
  async #switchTo(building: Build, signal: AbortSignal): Promise<Generations> {
    const reach = async (timeoutMs: number): Promise<boolean> => {
      const position = await this.#source.end(signal);
      const until = this.#clock.monotonic() + timeoutMs;
      return await this.#haveReached([building], until, { position, signal }).catch(() => false);
    };
    if (!(await reach(this.#roundMs))) return await this.#generations.setSwitching(building, false);
    await this.#generations.setSwitching(building, true);
    if (await reach(switchMs)) return await this.#generations.takeOver(building);
    return await this.#generations.setSwitching(building, false);
  }

  async #removeOld(build: Generations['old'][number], signal: AbortSignal): Promise<void> {
    const { generation } = build;
    const since = this.#oldSince.get(generation) ?? this.#clock.monotonic();
    this.#oldSince.set(generation, since);
    if (this.#clock.monotonic() - since < this.#keepOldMs) return;
    await this.#generations.setRemoving(build);
    // readers rely on what they have read for a while; another process may have set it just now
    await this.#clock.wait(leaveMs, signal);
    const states = new GenerationStates(this.#storage, { ...this.#projection, ...build });
    await removeGeneration(this.#storage, this.#checkpointsOf(build), states, signal);
    await this.#generations.removed(build);
  }
}

/** What a wait for the projection waits for. */
const awaitedIn = ({ live, building, isSwitching }: Generations): readonly Build[] =>
  building !== undefined && isSwitching === true ? [live, building] : [live];

const isAwaitedSame = (before: Generations, after: Generations): boolean => {
  const known = awaitedIn(before).map(({ generation }) => generation);
  return awaitedIn(after).every(({ generation }) => known.includes(generation));
};
