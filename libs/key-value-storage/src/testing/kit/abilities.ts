/**
 * What a provider under test can do beyond the contract, and what a clause may require of it: a
 * clause runs only where its capability is there.
 */
import type { StorageProvider } from '../../core.js';

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
  readonly location: boolean;
  /** The test knows how to spoil what is stored. */
  readonly damage: boolean;
}

/** What a clause may require, in words, and how a subject shows that it has it. */
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
  shared: { words: '`shared`', isMet: (it: Abilities) => it.features.shared && it.location },
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
export const applies = (clause: { readonly capability?: Capability }, abilities: Abilities): boolean =>
  clause.capability === undefined || capabilities[clause.capability].isMet(abilities);
