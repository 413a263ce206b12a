/** The health of all runners of a kind, without tenants and reasons. */
import type { ModulesContainer } from '@nestjs/core';
import { isStorageError } from '@kvent/key-value-storage';
import { assertOptions, inspect, timerMsMax } from '@kvent/key-value-storage/internal';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { onceForApplication } from '@kvent/key-value-storage/internal/nest';
import type { PartitionHealth, ProjectionLag } from '../core/projections/projection-health.js';

type Status = 'up' | 'degraded' | 'down';

/** `code` is the reason when the lag cannot be read. */
export interface RunnerCheck {
  readonly status: Status;
  readonly lag?: ProjectionLag;
  /** Tenants that wait for an event that cannot be applied, in this process. */
  readonly stoppedTenants: number;
  /** Streams that are put aside, of all tenants; absent where they cannot be read. */
  readonly parkedStreams?: number;
  readonly code?: string;
}

export interface ProjectionsHealthOptions {
  /** A projection whose first unread event is older is degraded. Milliseconds. @default 60_000 */
  readonly maxLagMs?: number | undefined;
  /** Milliseconds for reading the lag; after them, the projection is down. @default 1_000 */
  readonly timeoutMs?: number | undefined;
}

export interface Health {
  readonly partitions: readonly PartitionHealth[];
}

export interface CheckedRunner<H extends Health> {
  health(): H;
  lag(options: { readonly signal: AbortSignal }): Promise<ProjectionLag>;
  countParked(options: { readonly signal: AbortSignal }): Promise<number>;
}

/** The runners of an application, for its health: modules add them. */
export function runnersOfApplication<R>(what: string): (modules: ModulesContainer) => Set<R> {
  const key = Symbol(`kvent.${what}`);
  return (modules) => onceForApplication(modules, key, () => new Set<R>());
}

/** `named`: what is shown of each, beside its check. `INVALID_OPTION`. */
export async function checkRunners<H extends Health, Named extends object>(
  runners: Iterable<CheckedRunner<H>>,
  named: (health: H) => Named,
  options: ProjectionsHealthOptions,
): Promise<{ readonly status: Status; readonly checks: readonly (Named & RunnerCheck)[] }> {
  assertOptions('isHealthy', options, ['maxLagMs', 'timeoutMs']);
  const { maxLagMs = 60_000, timeoutMs = 1_000 } = options;
  assertMs('maxLagMs', maxLagMs, 0);
  assertMs('timeoutMs', timeoutMs, 1);
  const checks = await Promise.all(
    Array.from(runners, async (runner) => {
      const health = runner.health();
      return { ...named(health), ...(await checkOf(runner, health, maxLagMs, timeoutMs)) };
    }),
  );
  const has = (status: Status): boolean => checks.some((each) => each.status === status);
  return { status: has('down') ? 'down' : has('degraded') ? 'degraded' : 'up', checks };
}

function assertMs(name: string, value: number, min: number): void {
  if (!Number.isInteger(value) || value < min || value > timerMsMax)
    throw invalidOption(
      `isHealthy: ${name} must be a whole number of milliseconds from ${min}, below 2^31; got ${inspect(value)}.`,
    );
}

async function checkOf(
  runner: CheckedRunner<Health>,
  { partitions }: Health,
  maxLagMs: number,
  timeoutMs: number,
): Promise<RunnerCheck> {
  const stopped = new Set(
    partitions.flatMap(({ behind }) =>
      behind.filter(({ state }) => state === 'stopped').map(({ tenant }) => tenant),
    ),
  );
  const stoppedTenants = stopped.size;
  const isDown = partitions.some(({ state }) => state === 'stopped' || state === 'retrying');
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const [lag, parkedStreams] = await Promise.all([runner.lag({ signal }), runner.countParked({ signal })]);
    const isDegraded = lag.ms > maxLagMs || stoppedTenants > 0 || parkedStreams > 0;
    return { status: isDown ? 'down' : isDegraded ? 'degraded' : 'up', lag, stoppedTenants, parkedStreams };
  } catch (error) {
    // no message: it may contain hosts and files
    const code = isStorageError(error)
      ? error.code === 'ABORTED'
        ? 'STORAGE_UNAVAILABLE'
        : error.code
      : 'UNKNOWN';
    return { status: 'down', stoppedTenants, code };
  }
}
