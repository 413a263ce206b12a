/** All runners of an application, whichever modules have declared them. */
import type { ModulesContainer } from '@nestjs/core';
import type { ProjectionRunner } from '../core/projections/projection-runner.js';
import type { ReactionRunner } from '../core/reactions/reaction-runner.js';
import { projectionRunners } from './projections-health.indicator.js';
import { reactionRunners } from './reactions-health.indicator.js';

export interface ApplicationRunners {
  readonly projections: ReadonlySet<ProjectionRunner>;
  readonly reactions: ReadonlySet<ReactionRunner>;
}

// Symbol.for, because the door of `whenCaughtUp` may be loaded from another copy of the package
export const applicationRunnersToken = Symbol.for('kvent.application-runners');

/** The sets grow with modules that are loaded later. */
export const applicationRunners = (modules: ModulesContainer): ApplicationRunners => ({
  projections: projectionRunners(modules),
  reactions: reactionRunners(modules),
});
