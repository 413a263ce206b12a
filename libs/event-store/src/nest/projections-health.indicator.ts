import { Injectable } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import type { ProjectionHealth } from '../core/projections/projection-health.js';
import type { ProjectionRunner } from '../core/projections/projection-runner.js';
import { runnersOfApplication, type RunnerCheck } from './check-runners.js';
import { RunnersHealthIndicator, type RunnersCheck } from './runners-health.indicator.js';

/** The health of one projection. `code` is the reason when its lag cannot be read. */
export interface ProjectionCheck extends RunnerCheck {
  readonly projection: string;
  readonly version: number;
}

/** The result of an indicator for Terminus. */
export type ProjectionsCheck<Key extends string> = RunnersCheck<Key, 'projections', ProjectionCheck>;

export const projectionRunners = runnersOfApplication<ProjectionRunner>('projections');

/** Of all projections: `this.health.check([() => this.projections.isHealthy('projections')])`. */
@Injectable()
export class ProjectionsHealthIndicator extends RunnersHealthIndicator<
  'projections',
  ProjectionHealth,
  ProjectionCheck
> {
  protected readonly kind = 'projections';

  protected runnersOf(modules: ModulesContainer) {
    return projectionRunners(modules);
  }

  protected named({ projection, version }: ProjectionHealth) {
    return { projection, version };
  }
}
