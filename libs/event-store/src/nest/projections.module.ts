import { Inject, Module, type DynamicModule, type InjectionToken } from '@nestjs/common';
import type { InjectDecorator } from '@kvent/key-value-storage';
import { callSiteOf, located } from '@kvent/key-value-storage/internal';
import type { ResolvedStream } from '../core/definition/stream-definition.js';
import {
  boundProjection,
  isProjectionClass,
  type ProjectionClass,
} from '../core/projections/projection-class.js';
import {
  projectionDefinitionOf,
  type ProjectionDefinition,
  type ResolvedProjection,
} from '../core/projections/projection-definition.js';
import { ProjectionRunner, type ProjectionRunnerOptions } from '../core/projections/projection-runner.js';
import { ProjectionsHealthIndicator, projectionRunners } from './projections-health.indicator.js';
import { notInstantiated, RunnersFeature } from './runners-feature.js';

/** A projection as modules and decorators name it. */
export type AnyProjection = ProjectionDefinition | ProjectionClass;

/** `INVALID_OPTION` */
const resolved = (projection: AnyProjection, instance: () => object): ResolvedProjection =>
  isProjectionClass(projection) ? boundProjection(projection, instance) : projectionDefinitionOf(projection);

/** One of the streams that a projection reads: all have the same provider and scope. */
export const readStreamOf = (projection: AnyProjection): ResolvedStream =>
  resolved(projection, notInstantiated).streams[0] as ResolvedStream;

const feature = new RunnersFeature<AnyProjection, ProjectionRunner>(
  'projection',
  (projection) => resolved(projection, notInstantiated).name,
  (name) => `ProjectionRunner<${name}> of ProjectionsModule.forFeature([…])`,
);

/**
 * The injection token of a projection's runner. `INVALID_OPTION` for anything that
 * `defineProjection` did not return, and for a class without `@Projection`.
 */
export const getProjectionToken = (projection: AnyProjection): InjectionToken => feature.tokenOf(projection);

/**
 * Injects the runner of a projection, for `whenCaughtUp`, `health`, `lag` and `retry`. The
 * projection must be in some `ProjectionsModule.forFeature([…])` that the module imports.
 */
export function InjectProjection(projection: AnyProjection): InjectDecorator<ProjectionRunner> {
  return Inject(located(callSiteOf(InjectProjection), () => getProjectionToken(projection)));
}

/**
 * Projections in Nest, on the storage of `KeyValueStorageModule.forRoot`. They begin when the
 * application has started, and end when its shutdown begins, after the batches in progress.
 */
@Module({})
export class ProjectionsModule {
  /**
   * Runs these projections. Classes are instantiated with what the importing module can inject. The
   * same projection in several modules runs once, with the options of its first module.
   * `INVALID_OPTION`.
   */
  static forFeature(
    projections: readonly AnyProjection[],
    options: ProjectionRunnerOptions = {},
  ): DynamicModule {
    const place = callSiteOf(ProjectionsModule.forFeature);
    return located(place, () =>
      feature.moduleOf({
        declaredAt: place(),
        declared: projections,
        indicator: ProjectionsHealthIndicator,
        runners: projectionRunners,
        runnerOf: (storage, projection, instance) =>
          new ProjectionRunner(storage, resolved(projection, instance), options),
      }),
    );
  }
}
