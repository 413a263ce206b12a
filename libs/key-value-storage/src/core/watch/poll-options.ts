/** How often changes of other processes are looked for, where the engine reports none. */
import { timerMsMax } from '../base/clock.js';
import { inspect } from '../base/inspect.js';
import { assertOptions, invalidOption } from '../base/options.js';

/** For watches, and for readers of the feed: projections and reactions too. */
export interface PollOptions {
  /**
   * Milliseconds between two polls after a change; each poll without one makes them longer.
   * @default 200
   */
  readonly delayMs?: number | undefined;
  /** Milliseconds between two polls at most. @default 1_000, or `delayMs` if that is longer */
  readonly delayMsMax?: number | undefined;
}
export interface PollPolicy {
  readonly delayMs: number;
  readonly delayMsMax: number;
}

/** The options over the defaults; `INVALID_OPTION` for a value that is not allowed. */
export function resolvePoll(options: PollOptions = {}): PollPolicy {
  assertOptions('poll', options, ['delayMs', 'delayMsMax']);
  const { delayMs = 200 } = options;
  const { delayMsMax = Math.max(1_000, delayMs) } = options;
  for (const [name, value] of Object.entries({ delayMs, delayMsMax }))
    if (!Number.isInteger(value) || value < 1 || value > timerMsMax)
      throw invalidOption(
        `poll: ${name} must be a whole number of milliseconds from 1, below 2^31; got ${inspect(value)}.`,
      );
  if (delayMsMax < delayMs)
    throw invalidOption(`poll: delayMsMax must not be below delayMs, ${delayMs}; got ${delayMsMax}.`);
  return { delayMs, delayMsMax };
}
