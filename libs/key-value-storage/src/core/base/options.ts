/**
 * Checks of options. An unknown name is refused, because a typo must not become a default. An
 * option that is left out, or undefined, takes the default.
 */
import { storageError } from './errors.js';
import { inspect } from './inspect.js';
import { limits } from './limits.js';

/** The options over the defaults; `INVALID_OPTION` for an unknown name. */
export function resolveOptions<O extends object, D extends Partial<O>>(
  owner: string,
  given: O,
  defaults: D,
  more: readonly (keyof O & string)[] = [],
): O & D {
  assertOptions(owner, given, [...Object.keys(defaults), ...more]);
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(present) } as O & D;
}

/** Refuses anything but an object of these options, or undefined. */
export function assertOptions(owner: string, given: unknown, allowed: readonly string[]): void {
  if (given === undefined) return;
  if (typeof given !== 'object' || given === null)
    throw invalidOption(
      `${owner}: options must be an object; got ${given === null ? 'null' : typeof given}.`,
    );
  for (const name in given) {
    if (!allowed.includes(name))
      throw invalidOption(
        `${owner} has no option '${name}'; it takes ${allowed.join(', ')}.${didYouMean(name, allowed)}`,
      );
  }
}

/** ` Did you mean 'provider'?`, if one of the names is one or two letters away; else nothing. */
export function didYouMean(name: string, names: readonly string[]): string {
  const [closest] = names
    .map((each) => ({ each, distance: editDistance(name.toLowerCase(), each.toLowerCase()) }))
    .filter(({ each, distance }) => distance <= 2 && distance < each.length / 2)
    .sort((a, b) => a.distance - b.distance);
  return closest === undefined ? '' : ` Did you mean '${closest.each}'?`;
}

/** Levenshtein's distance, of names with at most 40 characters. */
function editDistance(a: string, b: string): number {
  if (a.length > 40 || b.length > 40) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [index, letter] of [...a].entries()) {
    const next = [index + 1];
    for (const [column, other] of [...b].entries()) {
      const replaced = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** A mistake of the program: 500 over HTTP. */
export const invalidOption = (message: string) => storageError('INVALID_OPTION', message, {});

/** A call that the state of its subject does not allow, such as a second `open`: 500 over HTTP. */
export const invalidState = (message: string) => storageError('INVALID_STATE', message, {});

/** A number, date or range that clients may have sent: 400 over HTTP. */
export const outOfRange = (message: string) => storageError('OUT_OF_RANGE', message, {});

/** `INVALID_OPTION` unless it is a whole number of milliseconds from 1 to `ttlMsMax`. */
export function assertTtl(owner: string, ttlMs: unknown): asserts ttlMs is number {
  if (Number.isInteger(ttlMs) && (ttlMs as number) > 0 && (ttlMs as number) <= limits.ttlMsMax) return;
  throw invalidOption(
    `${owner}: ttlMs must be a whole number of milliseconds from 1 to ${limits.ttlMsMax}; got ${inspect(ttlMs)}.`,
  );
}
