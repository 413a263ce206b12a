/**
 * The files of a store. Generations count up: snapshot g contains all commits before journal g, and
 * the journals from g on contain the commits after it.
 *
 * ```text
 * <root>/.kvent.json                      marks a store, with its id: an empty directory may be an unmounted disk
 * <root>/.lock.json                       its owner
 * <root>/.lock-<random>                   the lock of an owner that did not release it, until its databases are recovered
 * <root>/.feed-<position>                 empty: positions of the feed are reserved up to this one
 * <root>/<database>/snapshot-<g>.json
 * <root>/<database>/journal-<g>.jsonl
 * ```
 */
import { randomBytes } from 'node:crypto';
import { isFeedPosition } from '../../../core/port/feed-position.js';
import type { FeedPosition } from '../../../core/port/storage-provider.js';

export const markerName = '.kvent.json';
export const lockName = '.lock.json';

export const snapshotName = (generation: number): string => `snapshot-${generation}.json`;
export const journalName = (generation: number): string => `journal-${generation}.jsonl`;

/**
 * Names are unique, so that a process that lost its lock does not write to files of the next owner.
 */
const unique = (): string => randomBytes(8).toString('hex');
export const temporaryName = (name: string): string => `${name}.${unique()}.tmp`;
export const asideName = (what: 'new' | 'lock' | 'lock-released'): string => `.${what}-${unique()}`;
/** Whether a lock was renamed to this name because its owner was dead. */
export const isUnreleasedLock = (name: string): boolean => /^\.lock-[0-9a-f]{16}$/.test(name);

interface DroppedDirectory {
  /** Its name before it was dropped. */
  readonly directory: string;
  /** Its newest generation when it was dropped; `Infinity` for a drop that did not note it. */
  readonly generation: number;
}
/** The name to which the directory of a dropped database is renamed. */
export const droppedName = ({ directory, generation }: DroppedDirectory): string =>
  `.dropped-${unique()}.${generation}-${directory}`;
/** What was renamed to this name. */
export function droppedAs(name: string): DroppedDirectory | undefined {
  const [, generation = Infinity, directory] = /^\.dropped-[0-9a-f]{16}(?:\.(\d+))?-(.+)$/.exec(name) ?? [];
  return directory === undefined ? undefined : { directory, generation: Number(generation) };
}

/** What the owner removes from the root on opening. */
export const isLeftover = (name: string): boolean =>
  /^\.(new|lock-released)-[0-9a-f]{16}$/.test(name) || droppedAs(name) !== undefined || isTemporary(name);
/** Leftovers that may be directories: unfinished and dropped databases. The others are files. */
export const mayBeDirectory = (name: string): boolean =>
  /^\.new-/.test(name) || droppedAs(name) !== undefined;
/** The file that reserves positions of the feed up to this one. */
export const reservationName = (upTo: FeedPosition): string => `.feed-${upTo}`;
/** The position that a file of this name reserves; `undefined` if it reserves none. */
export function reservedBy(name: string): FeedPosition | undefined {
  const position = name.startsWith('.feed-') ? name.slice('.feed-'.length) : undefined;
  return isFeedPosition(position) ? position : undefined;
}
const isTemporary = (name: string): boolean => /\.[0-9a-f]{16}\.tmp$/.test(name);

export interface Generations {
  /** Ascending. */
  readonly snapshots: readonly number[];
  readonly journals: readonly number[];
  readonly temporary: readonly string[];
}

/** The newest generation with a file; 0 if there is none. */
export function newestGeneration(names: readonly string[]): number {
  const { snapshots, journals } = generationsOf(names);
  return Math.max(snapshots.at(-1) ?? 0, journals.at(-1) ?? 0);
}

/** Sorts the names in the directory of a database; foreign names are ignored. */
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
