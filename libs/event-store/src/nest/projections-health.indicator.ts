import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { isStorageError } from '@kvent/key-value-storage';
import { assertOptions, inspect, outOfRange, timerMsMax } from '@kvent/key-value-storage/internal';
import { onceForApplication } from '@kvent/key-value-storage/internal/nest';
import type { ProjectionLag } from '../core/projections/projection-health.js';
import type { ProjectionRunner } from '../core/projections/projection-runner.js';

type Status = 'up' | 'degraded' | 'down';

/** The health of one projection. `code` is the reason when its lag cannot be read. */
export interface ProjectionCheck {
  readonly projection: string;
  readonly version: number;
  readonly status: Status;
  readonly lag?: ProjectionLag;
  /** Tenants that wait for an event that cannot be applied, in this process. */
  readonly stoppedTenants: number;
  /** Streams that are put aside, of all tenants; absent where they cannot be read. */
  readonly parkedStreams?: number;
  readonly code?: string;
}

/** The result of an indicator for Terminus. */
export type ProjectionsCheck<Key extends string> = Record<
  Key,
  { readonly status: Status; readonly projections: readonly ProjectionCheck[] }
>;

export interface ProjectionsHealthOptions {
  /** A projection whose first unread event is older is degraded. Milliseconds. @default 60_000 */
  readonly maxLagMs?: number | undefined;
  /** Milliseconds for reading the lag; after them, the projection is down. @default 1_000 */
  readonly timeoutMs?: number | undefined;
}

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
   * parked. 'down': a
   * partition cannot be read, its runner has ended, or the lag cannot be read within `timeoutMs`.
   * Never rejects for one of these. `INVALID_OPTION`, `OUT_OF_RANGE`.
   */
  async isHealthy<Key extends string>(
    key: Key,
    options: ProjectionsHealthOptions = {},
  ): Promise<ProjectionsCheck<Key>> {
    assertOptions('isHealthy', options, ['maxLagMs', 'timeoutMs']);
    const { maxLagMs = 60_000, timeoutMs = 1_000 } = options;
    assertMs('maxLagMs', maxLagMs, 0);
    assertMs('timeoutMs', timeoutMs, 1);
    const projections = await Promise.all(
      [...runnersOf(this.#modules)].map(async (runner) => await checkOf(runner, maxLagMs, timeoutMs)),
    );
    const has = (status: Status): boolean => projections.some((each) => each.status === status);
    const status: Status = has('down') ? 'down' : has('degraded') ? 'degraded' : 'up';
    return { [key]: { status, projections } } as unknown as ProjectionsCheck<Key>;
  }
}

const runnersKey = Symbol('kvent.projection-runners');

/** The runners of an application, for its health. */
export const runnersOf = (modules: ModulesContainer): Set<ProjectionRunner> =>
  onceForApplication(modules, runnersKey, () => new Set());

function assertMs(name: string, value: number, min: number): void {
  if (!Number.isInteger(value) || value < min || value > timerMsMax)
    throw outOfRange(
      `isHealthy: ${name} must be a whole number of milliseconds from ${min}, below 2^31; got ${inspect(value)}.`,
    );
}

async function checkOf(
  runner: ProjectionRunner,
  maxLagMs: number,
  timeoutMs: number,
): Promise<ProjectionCheck> {
  const { projection, version, partitions } = runner.health();
  const stopped = new Set(
    partitions.flatMap(({ behind }) =>
      behind.filter(({ state }) => state === 'stopped').map(({ tenant }) => tenant),
    ),
  );
  const common = { projection, version, stoppedTenants: stopped.size };
  const isDown = partitions.some(({ state }) => state === 'stopped' || state === 'retrying');
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const [lag, parkedStreams] = await Promise.all([runner.lag({ signal }), runner.countParked({ signal })]);
    const isDegraded = lag.ms > maxLagMs || stopped.size > 0 || parkedStreams > 0;
    return { ...common, status: isDown ? 'down' : isDegraded ? 'degraded' : 'up', lag, parkedStreams };
  } catch (error) {
    // no message: it may contain hosts and files
    const code = isStorageError(error)
      ? error.code === 'ABORTED'
        ? 'STORAGE_UNAVAILABLE'
        : error.code
      : 'UNKNOWN';
    return { ...common, status: 'down', code };
  }
}
