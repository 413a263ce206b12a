/**
 * What is measured: every contender implements the same verbs. Its traits say what its results
 * guarantee; the table shows them beside each figure.
 */
export type Verb =
  | (
      | 'get'
      | 'set'
      | 'set + get'
      | 'save'
      | 'update'
      | 'getMany'
      | 'page'
      | 'index page'
      | 'watched set'
      | 'increment'
      | 'hot update'
      | 'hot increment'
      | 'one counter'
    )
  | ('append' | 'append 100' | 'append, marked' | 'hot append' | 'hot transact')
  | ('read 1,000' | 'load' | 'load, no snapshots' | 'version' | 'feed page');

/** The n-th call of a verb. It returns a promise only if the contender does. */
export type Operation = (call: number) => unknown;

export interface Traits {
  /** What an acknowledged write survives: 'power loss', 'kill' (of the process), or 'nothing'. */
  readonly survives: 'power loss' | 'kill' | 'nothing';
  /**
   * Whether a write can depend on the version that was read. If not, two concurrent changes of one
   * key lose one of them.
   */
  readonly comparesAndSets: boolean;
  /**
   * What a read returns: a 'frozen' value, a 'fresh copy' that may be changed, the 'stored object'
   * itself, or 'text'.
   */
  readonly returns: 'frozen' | 'fresh copy' | 'stored object' | 'text' | 'nothing';
  /** What else matters for a comparison, in a few words. */
  readonly note?: string;
}

export interface Contention {
  readonly done: number;
  readonly repeated: number;
}

export interface Contender {
  readonly name: string;
  readonly traits: Traits;
  readonly verbs: Partial<Readonly<Record<Verb, Operation>>>;
  /**
   * Its hot updates so far: those that are done, and the attempts that were repeated after a
   * conflict.
   */
  readonly contention?: Contention;
  /** Rejects when the stored data differ from the acknowledged updates: an update was lost. */
  readonly verify?: () => Promise<void>;
  readonly close?: () => Promise<void>;
}

/** What a contender gets: its own directory, and the keys to store. */
export interface Setup {
  readonly directory: string;
  readonly keys: readonly string[];
  /** Number of events of the long streams. */
  readonly longEvents: number;
  /** Whether an earlier opening has stored the keys; if not, opening stores them. */
  readonly filled: boolean;
  /**
   * The database server of the suite, if it has one, and a schema for this contender only.
   */
  readonly database?: { readonly url: string; readonly schema: string };
}

export type Opening = (setup: Setup) => Promise<Contender>;
