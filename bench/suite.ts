/** A suite is data: who takes part, and which works are measured beside which reference. */
import type { Opening, Verb } from './contender.js';
import type { DatabaseServer } from './database-server.js';

export interface Work {
  readonly verb: Verb;
  /** How many call at once, each again as soon as it is answered. */
  readonly callers: number;
  /** The contender whose calls per second are 1. */
  readonly reference: string;
  /** What docs/… promises for `ours` on a quiet machine: times the reference. */
  readonly aim?: number;
  /** What the verb does here, where its name does not say it. */
  readonly note?: string;
}

export interface Suite {
  readonly name: string;
  /** Keys that are there before, of one product each. */
  readonly keys: number;
  /** Those of ours that the aims are about. */
  readonly ours: readonly string[];
  /**
   * Milliseconds of a turn, unless told otherwise: enough that a flush of the disk more or less
   * does not decide. @default 200
   */
  readonly ms?: number;
  /** Where the contenders work, when that is no folder. */
  readonly server?: (directory: string) => Promise<DatabaseServer>;
  readonly openings: readonly Opening[];
  readonly works: readonly Work[];
}

/** How a work is called, and chosen. */
export const titleOf = ({ verb, callers }: Work): string =>
  `${verb}, ${callers} ${callers === 1 ? 'caller' : 'callers'}`;
