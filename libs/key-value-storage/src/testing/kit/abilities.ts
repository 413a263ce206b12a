/**
 * What a provider and its test set-up can do beyond the contract. A clause runs only if they have
 * its capability.
 */
import type { StorageProvider } from '../../core.js';

/** What a subject can do beyond the contract. */
export interface Abilities {
  readonly features: StorageProvider['features'];
  readonly hints: boolean;
  readonly count: boolean;
  readonly within: boolean;
  /** It has `within`, and the test can begin a transaction. */
  readonly transactions: boolean;
  /** Its time can be set: `features.clock` is 'replaceable', and `create` uses the given clock. */
  readonly clock: boolean;
  /** `create` can open the same data a second time. */
  readonly location: boolean;
  /** The test can damage the stored data. */
  readonly damage: boolean;
}

/** The capabilities that a clause may require: their names, and whether a subject has them. */
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
  'count, clock': {
    words: '`count` and a replaceable clock',
    isMet: (it: Abilities) => it.count && it.clock,
  },
  hints: { words: '`hints`', isMet: (it: Abilities) => it.hints },
  'hints, one process': {
    words: '`hints`, and not `shared`',
    isMet: (it: Abilities) => it.hints && !it.features.shared,
  },
  transactions: {
    words: '`within`, and a way to begin a transaction',
    isMet: (it: Abilities) => it.transactions,
  },
  'no within': { words: 'no `within`', isMet: (it: Abilities) => !it.within },
  'current reads': { words: 'no `staleReads`', isMet: (it: Abilities) => !it.features.staleReads },
  feed: { words: '`feed`', isMet: (it: Abilities) => it.features.feed },
  'feed, hints, one process': {
    words: '`feed` and `hints`, and not `shared`',
    isMet: (it: Abilities) => it.features.feed && it.hints && !it.features.shared,
  },
  'feed, durable': {
    words: '`feed` and `durable`',
    isMet: (it: Abilities) => it.features.feed && it.features.durable !== false,
  },
  'feed, shared': {
    words: '`feed` and `shared`',
    isMet: (it: Abilities) => it.features.feed && it.features.shared && it.location,
  },
  'feed, transactions': {
    words: '`feed`, `within`, and a way to begin a transaction',
    isMet: (it: Abilities) => it.features.feed && it.transactions,
  },
  'reads in scans': {
    words: '`readsInScans`',
    isMet: (it: Abilities) => it.features.readsInScans === true,
  },
  'no feed': { words: 'no `feed`', isMet: (it: Abilities) => !it.features.feed },
  damage: {
    words: '`durable`, and a way to damage its data',
    isMet: (it: Abilities) => it.features.durable !== false && it.damage,
  },
} as const satisfies Record<string, { words: string; isMet: (it: Abilities) => boolean }>;
export type Capability = keyof typeof capabilities;

/** Whether a clause must hold for a subject with these abilities. */
export const applies = (clause: { readonly capability?: Capability }, abilities: Abilities): boolean =>
  clause.capability === undefined || capabilities[clause.capability].isMet(abilities);
