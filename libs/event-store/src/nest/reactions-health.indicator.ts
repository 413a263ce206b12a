import { Injectable } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import type { ReactionHealth, ReactionRunner } from '../core/reactions/reaction-runner.js';
import { runnersOfApplication, type RunnerCheck } from './check-runners.js';
import { RunnersHealthIndicator, type RunnersCheck } from './runners-health.indicator.js';

/** The health of one reaction. `code` is the reason when its lag cannot be read. */
export interface ReactionCheck extends RunnerCheck {
  readonly reaction: string;
}

/** The result of an indicator for Terminus. */
export type ReactionsCheck<Key extends string> = RunnersCheck<Key, 'reactions', ReactionCheck>;

export const reactionRunners = runnersOfApplication<ReactionRunner>('reactions');

/** Of all reactions: `this.health.check([() => this.reactions.isHealthy('reactions')])`. */
@Injectable()
export class ReactionsHealthIndicator extends RunnersHealthIndicator<
  'reactions',
  ReactionHealth,
  ReactionCheck
> {
  protected readonly kind = 'reactions';

  protected runnersOf(modules: ModulesContainer) {
    return reactionRunners(modules);
  }

  protected named({ reaction }: ReactionHealth) {
    return { reaction };
  }
}
