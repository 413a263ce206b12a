import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import type { ReactionRunner } from '../core/reactions/reaction-runner.js';
import {
  checkRunners,
  runnersOfApplication,
  type ProjectionsHealthOptions,
  type RunnerCheck,
} from './check-runners.js';

/** The health of one reaction. `code` is the reason when its lag cannot be read. */
export interface ReactionCheck extends RunnerCheck {
  readonly reaction: string;
}

/** The result of an indicator for Terminus. */
export type ReactionsCheck<Key extends string> = Record<
  Key,
  { readonly status: RunnerCheck['status']; readonly reactions: readonly ReactionCheck[] }
>;

export const reactionRunners = runnersOfApplication<ReactionRunner>('reactions');

/**
 * A health indicator for Terminus 12, of all reactions of the application: `this.health.check([()
 * => this.reactions.isHealthy('reactions')])`. It names no tenant and no reason, because health
 * checks are often public: `health()` of a runner has them. It does not load Terminus. Terminus 11
 * has no 'degraded', and leaves it out.
 */
@Injectable()
export class ReactionsHealthIndicator {
  readonly #modules: ModulesContainer;

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    this.#modules = modules;
  }

  /**
   * 'degraded': the lag is above `maxLagMs`, a tenant is stopped at an event, or a stream is
   * parked. 'down': a partition cannot be read, its runner has ended, or the lag cannot be read
   * within `timeoutMs`. Never rejects for one of these. `INVALID_OPTION`, `OUT_OF_RANGE`.
   */
  async isHealthy<Key extends string>(
    key: Key,
    options: ProjectionsHealthOptions = {},
  ): Promise<ReactionsCheck<Key>> {
    const { status, checks: reactions } = await checkRunners(
      reactionRunners(this.#modules),
      ({ reaction }) => ({ reaction }),
      options,
    );
    return { [key]: { status, reactions } } as unknown as ReactionsCheck<Key>;
  }
}
