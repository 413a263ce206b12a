/** Runs one reaction in this process, beside those of other processes. */
import type { KeyValueStorage } from '@kvent/key-value-storage/core';
import { Semaphore, assertOptions, inspect, timerMsMax } from '@kvent/key-value-storage/internal';
import { invalidOption } from '@kvent/key-value-storage/provider';
import type { ProjectionRetry } from '../projections/partition-reader.js';
import type { ProjectionHealth } from '../projections/projection-health.js';
import {
  SubscriptionRunner,
  type PartitionHold,
  type SubscriptionRunnerOptions,
} from '../projections/subscription-runner.js';
import type { WriterContext } from '../projections/tenant-writer.js';
import { HandlerCalls } from './handler-calls.js';
import {
  reactionDefinitionOf,
  type ReactionDefinition,
  type ResolvedReaction,
} from './reaction-definition.js';
import { TenantReactor } from './tenant-reactor.js';

export interface ReactionRunnerOptions extends Omit<SubscriptionRunnerOptions, 'retry'> {
  /**
   * How often an event whose handler rejects is tried again, and how long after. @default 10
   * attempts, after 500 ms at first and 60 s at most: three minutes at most
   */
  readonly retry?: Partial<ProjectionRetry> | undefined;
  /**
   * Milliseconds that `stop` waits for running handlers, whose signals are aborted. After them, the
   * partition is not released: another process takes it over after `leaseTtlMs`. @default 10_000
   */
  readonly stopTimeoutMs?: number | undefined;
}

export interface ReactionHealth extends Omit<ProjectionHealth, 'projection' | 'version'> {
  readonly reaction: string;
}

const kind = {
  // outages of what is outside take minutes: ten attempts take three at most
  retry: { attempts: 10, delayMs: 500, delayMsMax: 60_000 },
  pageEvents: 100,
  aheadEvents: 100,
  // the checkpoint names those that are handled before an older one
  windowEvents: 200,
  batchEvents: 1,
};

/**
 * Runs a reaction: `new ReactionRunner(storage, MailOnPlaced)`. Each event is handled at least
 * once. It is repeated where a process ends, or cannot store the checkpoint, after the handler and
 * before the checkpoint; after another process has taken over, the former one ends the handlers
 * that it is in, and begins none.
 */
export class ReactionRunner extends SubscriptionRunner {
  readonly #reaction: ResolvedReaction;

  /** `INVALID_OPTION`; `STORAGE_UNSUPPORTED` where the provider of the streams has no feed. */
  constructor(storage: KeyValueStorage, reaction: ReactionDefinition, options: ReactionRunnerOptions = {}) {
    const owner = 'ReactionRunner';
    assertOptions(owner, options, ['retry', 'leaseTtlMs', 'onError', 'stopTimeoutMs']);
    const { stopTimeoutMs = 10_000 } = options;
    if (!Number.isInteger(stopTimeoutMs) || stopTimeoutMs < 0 || stopTimeoutMs > timerMsMax)
      throw invalidOption(
        `${owner}: stopTimeoutMs must be a whole number of milliseconds from 0, below 2^31; got ${inspect(stopTimeoutMs)}.`,
      );
    const resolved = reactionDefinitionOf(reaction);
    super(storage, resolved, { ...kind, owner, stopTimeoutMs }, options);
    this.#reaction = resolved;
  }

  /** What this process knows. For operators: it names tenants. */
  health(): ReactionHealth {
    return { reaction: this.name, ...this.healthOfPartitions };
  }

  protected effectsOn(context: Omit<WriterContext, 'effects'>) {
    const calls = new HandlerCalls(this.#reaction, context);
    return () => calls;
  }

  protected writersOn(context: WriterContext, hold?: PartitionHold) {
    const reaction = this.#reaction;
    const reactor = { ...context, reaction, slots: new Semaphore(reaction.concurrency), hold };
    return (database: string, partition: number) => new TenantReactor(reactor, database, partition);
  }
}
