/** Tests of applications: until what was committed has had its effects. */
import type { INestApplicationContext } from '@nestjs/common';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, timerMsMax } from '@kvent/key-value-storage/internal';
import type { CaughtUpOptions } from '@kvent/event-store/core';

/**
 * The token of the module. `Symbol.for`, because doors may be loaded from several copies of the
 * package.
 */
const applicationRunnersToken = Symbol.for('kvent.application-runners');

interface Runner {
  whenCaughtUp(options: CaughtUpOptions): Promise<void>;
}

/**
 * Resolves when all projections and reactions of the application have handled everything that was
 * committed before the call: not what a reaction appends after it. Modules that are loaded lazily,
 * and durable bridges to the `EventBus`, are included. Of the runner that fails first:
 * `PROJECTION_STOPPED` or `REACTION_STOPPED` at an event that cannot be handled;
 * `PROJECTION_BEHIND` or `REACTION_BEHIND` after the timeout, which is 30 seconds by default.
 * `INVALID_OPTION`.
 */
export async function whenCaughtUp(
  app: Pick<INestApplicationContext, 'get'>,
  options: { readonly timeoutMs?: number | undefined } = {},
): Promise<void> {
  assertOptions('whenCaughtUp', options, ['timeoutMs']);
  const { timeoutMs } = options;
  if (timeoutMs !== undefined && !(Number.isInteger(timeoutMs) && timeoutMs >= 0 && timeoutMs <= timerMsMax))
    throw invalidOption(
      `whenCaughtUp: timeoutMs must be a whole number of milliseconds from 0, below 2^31; got ${inspect(timeoutMs)}.`,
    );
  const runners = runnersOf(app);
  const ending = new AbortController();
  const waits = runners.map(
    async (runner) => await runner.whenCaughtUp({ timeoutMs, signal: ending.signal }),
  );
  try {
    await Promise.all(waits);
  } finally {
    // the others end with the first that fails
    ending.abort();
    await Promise.allSettled(waits);
  }
}

function runnersOf(app: Pick<INestApplicationContext, 'get'>): readonly Runner[] {
  const given: unknown = app;
  if (typeof (given as { get?: unknown } | undefined)?.get !== 'function')
    throw invalidOption(`whenCaughtUp takes an application or a testing module; got ${inspect(given)}.`);
  let all: Readonly<Record<'projections' | 'reactions', Iterable<Runner>>>;
  try {
    all = app.get(applicationRunnersToken, { strict: false });
  } catch {
    throw invalidOption(
      'whenCaughtUp: the application has no projection and no reaction: no module imports ProjectionsModule.forFeature([…]) or ReactionsModule.forFeature([…]).',
    );
  }
  return [...all.projections, ...all.reactions];
}
