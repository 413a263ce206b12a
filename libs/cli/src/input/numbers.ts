/** Numbers in arguments. */
import { UsageError } from './usage-error.js';

export function secondsFrom(text: string): number {
  if (/^\d{1,6}(\.\d+)?$/.test(text)) return Number(text);
  throw new UsageError('It must be a number of seconds, at least 0.');
}

export const wholeNumberFrom =
  (min: number, max: number) =>
  (text: string): number => {
    const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new UsageError(
      max === Number.MAX_SAFE_INTEGER
        ? `It must be a whole number from ${min}.`
        : `It must be a whole number from ${min} to ${max.toLocaleString('en')}.`,
    );
  };

/** Milliseconds, or 'never'. */
export function timeToLiveFrom(text: string): number | 'never' {
  if (text === 'never') return text;
  const ms = /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Math.round(Number(text) * 1_000) : 0;
  if (ms >= 1) return ms;
  throw new UsageError("It must be 'never', or a number of seconds above 0.");
}
