/** How long a session's lock lives, and how long it is waited for. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, timerMsMax } from '@kvent/key-value-storage/internal';
import type { SessionOptions } from '../definition/event-stream.js';

export const sessionDefaults = { sessionTimeoutMs: 60_000, openTimeoutMs: 5_000, renewal: 'manual' } as const;

/** `INVALID_OPTION` names what is wrong. */
export function assertSessionOptions(
  owner: string,
  options: SessionOptions | undefined,
  allowed: readonly string[],
): void {
  assertOptions(owner, options, allowed);
  const { sessionTimeoutMs, openTimeoutMs, renewal } = options ?? {};
  if (
    sessionTimeoutMs !== undefined &&
    !(Number.isInteger(sessionTimeoutMs) && sessionTimeoutMs >= 1 && sessionTimeoutMs <= timerMsMax)
  )
    throw invalidOption(
      `${owner}: sessionTimeoutMs is a whole number of milliseconds from 1, below 2^31; given was ${inspect(sessionTimeoutMs)}.`,
    );
  if (openTimeoutMs !== undefined && !(typeof openTimeoutMs === 'number' && openTimeoutMs >= 0))
    throw invalidOption(
      `${owner}: openTimeoutMs is a number of milliseconds from 0; given was ${inspect(openTimeoutMs)}.`,
    );
  if (renewal !== undefined && renewal !== 'manual' && renewal !== 'auto')
    throw invalidOption(`${owner}: renewal is 'manual' or 'auto'; given was ${inspect(renewal)}.`);
}
