/**
 * Who is measured: the same verbs for everybody, and what their answers are worth, which the table
 * says beside each figure.
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
      | 'increment'
      | 'hot update'
      | 'hot increment'
    )
  | ('append' | 'append 100' | 'append, marked' | 'hot append' | 'hot transact')
  | ('read 1,000' | 'load' | 'load, no snapshots' | 'version');

/**
 * The n-th call of a verb. It answers a promise where the contender does: nobody is made to wait
 * who need not.
 */
export type Operation = (call: number) => unknown;

export interface Traits {
  /** What an acknowledged write survives: 'power loss', 'kill' (of the process), or 'nothing'. */
  readonly survives: 'power loss' | 'kill' | 'nothing';
  /**
   * Whether a write can be made to depend on what was read: with 'no', two that change one key at
   * once lose a change.
   */
  readonly comparesAndSets: boolean;
  /**
   * What a read answers: 'frozen', a 'fresh copy' that may be changed without harm, the 'stored
   * object' itself, or 'text'.
   */
  readonly answers: 'frozen' | 'fresh copy' | 'stored object' | 'text' | 'nothing';
  /** In a few words, what else one should know before comparing. */
  readonly note?: string;
}

export interface Rivalry {
  readonly done: number;
  readonly again: number;
}

export interface Contender {
  readonly name: string;
  readonly traits: Traits;
  readonly verbs: Partial<Readonly<Record<Verb, Operation>>>;
  /**
   * How its hot updates went so far: those that were done, and those that had to begin again
   * because somebody else was faster.
   */
  readonly rivalry?: Rivalry;
  /** Rejects when what is stored now is not what was answered: an update that was lost. */
  readonly verify?: () => Promise<void>;
  readonly close?: () => Promise<void>;
}

/** Where a contender works: its own directory, and the keys in it. */
export interface Place {
  readonly directory: string;
  readonly keys: readonly string[];
  /** Events of the streams that are long. */
  readonly longEvents: number;
  /** Whether they are there already, from an earlier opening; if not, opening stores them. */
  readonly filled: boolean;
  /**
   * The database server of the suite, where it has one, and a schema in it for this contender
   * alone.
   */
  readonly database?: { readonly url: string; readonly schema: string };
}

export type Opening = (place: Place) => Promise<Contender>;
