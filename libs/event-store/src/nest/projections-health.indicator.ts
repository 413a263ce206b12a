import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import type { ProjectionRunner } from '../core/projections/projection-runner.js';
import {
  checkRunners,
  runnersOfApplication,
  type ProjectionsHealthOptions,
  type RunnerCheck,
} from './check-runners.js';

/** The health of one projection. `code` is the reason when its lag cannot be read. */
export interface ProjectionCheck extends RunnerCheck {
  readonly projection: string;
  readonly version: number;
}

/** The result of an indicator for Terminus. */
export type ProjectionsCheck<Key extends string> = Record<
  Key,
  { readonly status: RunnerCheck['status']; readonly projections: readonly ProjectionCheck[] }
>;

export const projectionRunners = runnersOfApplication<ProjectionRunner>('projections');

/**
 * A health indicator for Terminus 12, of all projections of the application: `this.health.check([()
 * => this.projections.isHealthy('projections')])`. It names no tenant and no reason, because health
 * checks are often public: `health()` of a runner has them. It does not load Terminus. Terminus 11
 * has no 'degraded', and leaves it out.
 */
@Injectable()
export class ProjectionsHealthIndicator {
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
  ): Promise<ProjectionsCheck<Key>> {
    const { status, checks: projections } = await checkRunners(
      projectionRunners(this.#modules),
      ({ projection, version }) => ({ projection, version }),
      options,
    );
    return { [key]: { status, projections } } as unknown as ProjectionsCheck<Key>;
  }
}
