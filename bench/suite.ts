/** A suite is data: who takes part, and which works are measured beside which reference. */
import type { Opening, Verb } from './contender.js';

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
  /** The contender that the aims are about. */
  readonly ours: string;
  readonly openings: readonly Opening[];
  readonly works: readonly Work[];
}
