/**
 * What lies where. Generations count up: snapshot g holds everything before journal g, and the
 * journals from g on hold what came after.
 *
 * ```text
 * <root>/.kvent.json                      this is a store, and which: an empty directory may be a disk that is not mounted
 * <root>/.lock.json                       who owns it
 * <root>/<database>/snapshot-<g>.json
 * <root>/<database>/journal-<g>.jsonl
 * ```
 */
import { randomBytes } from 'node:crypto';

export const markerName = '.kvent.json';
export const lockName = '.lock.json';

export const snapshotName = (generation: number): string => `snapshot-${generation}.json`;
export const journalName = (generation: number): string => `journal-${generation}.jsonl`;

/**
 * Names that nobody else uses: a process that lost its lock must not write into its successor's
 * files.
 */
const unique = (): string => randomBytes(8).toString('hex');
export const temporaryName = (name: string): string => `${name}.${unique()}.tmp`;
export const asideName = (what: 'new' | 'lock'): string => `.${what}-${unique()}`;
/** Where a database's directory goes when it is dropped. */
export const droppedName = (directory: string): string => `.dropped-${unique()}-${directory}`;
/** The directory that was renamed to this. */
export const directoryDropped = (name: string): string | undefined =>
  /^\.dropped-[0-9a-f]{16}-(.+)$/.exec(name)?.[1];

/** What an opening owner clears away from the root. */
export const isLeftover = (name: string): boolean =>
  /^\.(new|lock)-[0-9a-f]{16}$/.test(name) || directoryDropped(name) !== undefined || isTemporary(name);
/** Of what is cleared away: databases that were begun or dropped. The rest are files. */
export const mayBeDirectory = (name: string): boolean =>
  /^\.new-/.test(name) || directoryDropped(name) !== undefined;
const isTemporary = (name: string): boolean => /\.[0-9a-f]{16}\.tmp$/.test(name);

export interface Generations {
  /** Ascending. */
  readonly snapshots: readonly number[];
  readonly journals: readonly number[];
  readonly temporary: readonly string[];
}

/** Sorts the names in a database's directory. What is none of ours is left alone. */
export function generationsOf(names: readonly string[]): Generations {
  const numbers = (pattern: RegExp): number[] =>
    names
      .map((name) => Number(pattern.exec(name)?.[1]))
      .filter((number) => Number.isSafeInteger(number))
      .sort((a, b) => a - b);
  return {
    snapshots: numbers(/^snapshot-([1-9][0-9]*)\.json$/),
    journals: numbers(/^journal-([1-9][0-9]*)\.jsonl$/),
    temporary: names.filter(isTemporary),
  };
}
