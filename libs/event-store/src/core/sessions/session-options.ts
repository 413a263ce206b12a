/** The options of sessions: their defaults and limits. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, timerMsMax } from '@kvent/key-value-storage/internal';
import type { SessionOptions } from '../definition/event-stream.js';

export const sessionDefaults = {
  sessionTimeoutMs: 60_000,
  openTimeoutMs: 5_000,
  renewal: 'manual',
  // a process that never closes its session must not hold the stream for as long as it runs
  renewalTimeoutMs: 3_600_000,
} as const;

/** The options of a session without its signal. */
export const sessionOptionNames = Object.keys(sessionDefaults);

export function assertSessionOptions(
  owner: string,
  options: SessionOptions | undefined,
  allowed: readonly string[],
): void {
  assertOptions(owner, options, allowed);
  const { openTimeoutMs, renewal } = options ?? {};
  for (const name of ['sessionTimeoutMs', 'renewalTimeoutMs'] as const) {
    const timeout = options?.[name];
    if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 1 && timeout <= timerMsMax))
      throw invalidOption(
        `${owner}: ${name} must be a whole number of milliseconds from 1, below 2^31; got ${inspect(timeout)}.`,
      );
  }
  if (openTimeoutMs !== undefined && !(typeof openTimeoutMs === 'number' && openTimeoutMs >= 0))
    throw invalidOption(
      `${owner}: openTimeoutMs must be a number of milliseconds from 0; got ${inspect(openTimeoutMs)}.`,
    );
  if (renewal !== undefined && renewal !== 'manual' && renewal !== 'auto')
    throw invalidOption(`${owner}: renewal must be 'manual' or 'auto'; got ${inspect(renewal)}.`);
}
