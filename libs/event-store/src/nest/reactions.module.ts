import { Inject, Module, type DynamicModule, type InjectionToken } from '@nestjs/common';
import type { InjectDecorator } from '@kvent/key-value-storage';
import { callSiteOf, located } from '@kvent/key-value-storage/internal';
import { boundReaction, type ReactionClass } from '../core/reactions/reaction-class.js';
import {
  reactionDefinitionOf,
  type ReactionDefinition,
  type ResolvedReaction,
} from '../core/reactions/reaction-definition.js';
import { ReactionRunner, type ReactionRunnerOptions } from '../core/reactions/reaction-runner.js';
import { reactionRunners, ReactionsHealthIndicator } from './reactions-health.indicator.js';
import { notInstantiated, RunnersFeature } from './runners-feature.js';

/** A reaction as modules and decorators name it. */
type AnyReaction = ReactionDefinition | ReactionClass;

/** `INVALID_OPTION` */
const resolved = (reaction: AnyReaction, instance: () => object): ResolvedReaction =>
  typeof reaction === 'function' ? boundReaction(reaction, instance) : reactionDefinitionOf(reaction);

const feature = new RunnersFeature<AnyReaction, ReactionRunner>(
  'reaction',
  (reaction) => resolved(reaction, notInstantiated).name,
  (name) => `ReactionRunner<${name}> of ReactionsModule.forFeature([…])`,
);

/**
 * The injection token of a reaction's runner. `INVALID_OPTION` for anything that `defineReaction`
 * did not return, and for a class without `@Reaction`.
 */
export const getReactionToken = (reaction: AnyReaction): InjectionToken => feature.tokenOf(reaction);

/**
 * Injects the runner of a reaction, for `whenCaughtUp`, `health`, `lag` and `retry`. The reaction
 * must be in some `ReactionsModule.forFeature([…])` that the module imports.
 */
export function InjectReaction(reaction: AnyReaction): InjectDecorator<ReactionRunner> {
  return Inject(located(callSiteOf(InjectReaction), () => getReactionToken(reaction)));
}

/** `declaredAt`: the line of the application. */
export const reactionsModule = (
  reactions: readonly AnyReaction[],
  options: ReactionRunnerOptions,
  declaredAt: string,
): DynamicModule =>
  feature.moduleOf({
    declaredAt,
    declared: reactions,
    indicator: ReactionsHealthIndicator,
    runners: reactionRunners,
    runnerOf: (storage, reaction, instance) =>
      new ReactionRunner(storage, resolved(reaction, instance), options),
  });

/**
 * Reactions in Nest, on the storage of `KeyValueStorageModule.forRoot`. They begin when the
 * application has started, and end when its shutdown begins, after the handlers that run. Handlers
 * run for the tenant of the event (`TenantContext`; outside any tenant for shared streams), and
 * outside every request.
 */
@Module({})
export class ReactionsModule {
  /**
   * Runs these reactions. Classes are instantiated with what the importing module can inject. The
   * same reaction in several modules runs once, with the options of its first module.
   * `INVALID_OPTION`.
   */
  static forFeature(reactions: readonly AnyReaction[], options: ReactionRunnerOptions = {}): DynamicModule {
    const place = callSiteOf(ReactionsModule.forFeature);
    return located(place, () => reactionsModule(reactions, options, place()));
  }
}
