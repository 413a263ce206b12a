import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import {
  checkRunners,
  type CheckedRunner,
  type Health,
  type ProjectionsHealthOptions,
  type RunnerCheck,
} from './check-runners.js';

/**
 * A health indicator for Terminus 12, of all runners of one kind in the application. It names no
 * tenant and no reason, because health checks are often public: `health()` of a runner has them. It
 * does not load Terminus. Terminus 11 has no 'degraded', and leaves it out.
 */
@Injectable()
export abstract class RunnersHealthIndicator<Kind extends string, H extends Health, Check extends object> {
  /** The key of the checks in the result. */
  protected abstract readonly kind: Kind;
  readonly #modules: ModulesContainer;

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    this.#modules = modules;
  }

  /**
   * 'degraded': the lag is above `maxLagMs`, a tenant is stopped at an event, or a stream is
   * parked. 'down': a partition cannot be read, its runner has ended, or the lag cannot be read
   * within `timeoutMs`. Never rejects for one of these. `INVALID_OPTION`.
   */
  async isHealthy<Key extends string>(
    key: Key,
    options: ProjectionsHealthOptions = {},
  ): Promise<RunnersCheck<Key, Kind, Check>> {
    const runners = this.runnersOf(this.#modules);
    const { status, checks } = await checkRunners(runners, (health) => this.named(health), options);
    return { [key]: { status, [this.kind]: checks } } as unknown as RunnersCheck<Key, Kind, Check>;
  }

  protected abstract runnersOf(modules: ModulesContainer): Iterable<CheckedRunner<H>>;

  /** What is shown of a runner, beside its check. */
  protected abstract named(health: H): object;
}

/** The result of an indicator for Terminus. */
export type RunnersCheck<Key extends string, Kind extends string, Check extends object> = Record<
  Key,
  { readonly status: RunnerCheck['status'] } & Readonly<Record<Kind, readonly Check[]>>
>;
