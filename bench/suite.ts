/** A suite is data: its contenders, and its works with their references. */
import type { Opening, Verb } from './contender.js';

export interface Work {
  readonly verb: Verb;
  /** Number of concurrent callers; each calls again as soon as its call has returned. */
  readonly callers: number;
  /** The contender whose calls per second count as 1. */
  readonly reference: string;
  /**
   * A contender that stores what `ours` store (ids, metadata, times), where the reference does not:
   * the ratios to it are printed too.
   */
  readonly likeForLike?: string;
  /** The aim of the design for `ours` on a quiet machine, as a multiple of the reference. */
  readonly aim?: number;
  /** What the verb does in this work, if its name does not say it. */
  readonly note?: string;
}

export interface Suite {
  readonly name: string;
  /** Number of keys that are stored before, each with one product. */
  readonly keys: number;
  /** The contenders of Kvent for which the aims are. */
  readonly ours: readonly string[];
  /**
   * Milliseconds of a measuring window without `--ms`: long enough that one flush of the disk more
   * does not matter. @default 200
   */
  readonly ms?: number;
  /** Whether its contenders need the database server. */
  readonly onPostgres?: boolean;
  readonly openings: readonly Opening[];
  readonly works: readonly Work[];
}

/** The title of a work, which `--only` selects by. */
export const titleOf = ({ verb, callers }: Work): string =>
  `${verb}, ${callers} ${callers === 1 ? 'caller' : 'callers'}`;
