/** Runs one build of a projection in this process, beside those of other processes. */
import type { KeyValueStorage } from '@kvent/key-value-storage/core';
import { Effects } from './effects.js';
import { GenerationStates } from './generation-states.js';
import type { ProjectionRetry } from './partition-reader.js';
import type { ResolvedProjection } from './projection-definition.js';
import type { ProjectionHealth } from './projection-health.js';
import type { Subscription } from './subscription.js';
import { SubscriptionRunner, type SubscriptionRunnerOptions } from './subscription-runner.js';
import { TenantWriter, type WriterContext } from './tenant-writer.js';

interface GenerationOptions extends SubscriptionRunnerOptions {
  /** As of `CheckpointContext`. */
  readonly assertCurrent: () => Promise<void>;
}

const retry: ProjectionRetry = { attempts: 5, delayMs: 100, delayMsMax: 5_000 };
const kind = {
  owner: 'ProjectionRunner',
  retry,
  pageEvents: 1_000,
  aheadEvents: 5_000,
  windowEvents: 0,
  batchEvents: 5_000,
};

export class GenerationRunner extends SubscriptionRunner {
  readonly #projection: ResolvedProjection;
  readonly #states: GenerationStates;
  readonly #assertCurrent: () => Promise<void>;

  constructor(
    storage: KeyValueStorage,
    projection: ResolvedProjection & Subscription,
    { assertCurrent, ...options }: GenerationOptions,
  ) {
    super(storage, projection, kind, options);
    this.#projection = projection;
    this.#states = new GenerationStates(storage, projection);
    this.#assertCurrent = assertCurrent;
  }

  health(): ProjectionHealth {
    const { name, version } = this.#projection;
    return { projection: name, version, ...this.healthOfPartitions };
  }

  protected effectsOn({ storage }: Omit<WriterContext, 'effects'>) {
    const handler = this.#projection.handlerOn(storage);
    return (tenant: string | undefined) => new Effects(this.#projection, handler, tenant, this.#states);
  }

  protected writersOn(context: WriterContext) {
    const own = { ...context, assertCurrent: this.#assertCurrent };
    return (database: string, partition: number) => new TenantWriter(own, database, partition);
  }
}
