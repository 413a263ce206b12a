/**
 * The contract is data: each clause is a sentence, a proof that runs on any provider, and a broken
 * provider that the proof must catch. `describeStorageProvider` hands the list to a test runner,
 * `docs/reference/contract.md` is printed from it.
 */
import type { StorageProvider } from '../core.js';
import type { Broken } from './broken.js';
import type { Subject } from './subject.js';

export interface Clause {
  /** A whole sentence: what a provider promises. */
  readonly name: string;
  /** The law (1 to 14) of `docs/promises.md` that it belongs to. */
  readonly law: number;
  /** What it can only be proven with. A provider that does not claim it is not asked. */
  readonly needs?: Capability;
  /** What it must catch: the test of the kit runs the clause on it, and it has to fail. */
  readonly broken: Broken;
  /** Proves it, or throws an `AssertionError`. */
  run(subject: Subject): Promise<void>;
}

/** What a subject can do, beyond the contract. */
export interface Abilities {
  readonly features: StorageProvider['features'];
  readonly hints: boolean;
  readonly within: boolean;
  /** It has `within`, and the test knows how to begin a transaction. */
  readonly transactions: boolean;
  /** Its time can be moved: `features.clock` is 'replaceable', and `create` handed the clock on. */
  readonly clock: boolean;
  /** `create` makes a second instance over the same data. */
  readonly place: boolean;
  /** The test knows how to spoil what is stored. */
  readonly damage: boolean;
}

/** Each need in words, and how it is seen. */
export const capabilities = {
  clock: { words: 'a replaceable clock', isMet: (it: Abilities) => it.clock },
  'exact expiry': {
    words: "a replaceable clock and `expiry: 'exact'`",
    isMet: (it: Abilities) => it.clock && it.features.expiry === 'exact',
  },
  durable: { words: '`durable`', isMet: (it: Abilities) => it.features.durable !== false },
  'durable, clock': {
    words: '`durable` and a replaceable clock',
    isMet: (it: Abilities) => it.features.durable !== false && it.clock,
  },
  shared: { words: '`shared`', isMet: (it: Abilities) => it.features.shared && it.place },
  hints: { words: '`hints`', isMet: (it: Abilities) => it.hints },
  transactions: {
    words: '`within`, and a way to begin a transaction',
    isMet: (it: Abilities) => it.transactions,
  },
  'no within': { words: 'no `within`', isMet: (it: Abilities) => !it.within },
  'current reads': { words: 'no `staleReads`', isMet: (it: Abilities) => !it.features.staleReads },
  damage: {
    words: '`durable`, and a way to spoil its data',
    isMet: (it: Abilities) => it.features.durable !== false && it.damage,
  },
} as const satisfies Record<string, { words: string; isMet: (it: Abilities) => boolean }>;
export type Capability = keyof typeof capabilities;

/** Whether a clause has to hold for a subject of these abilities. */
export const applies = (clause: { readonly needs?: Capability }, abilities: Abilities): boolean =>
  clause.needs === undefined || capabilities[clause.needs].isMet(abilities);
