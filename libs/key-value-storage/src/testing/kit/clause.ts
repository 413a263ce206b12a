/**
 * The contract is data: each clause is a sentence, a proof that runs on any provider, and a broken
 * provider that the proof must catch. `describeStorageProvider` declares a test for each;
 * `docs/reference/contract.md` is generated from them.
 */
import type { Capability } from './abilities.js';
import type { BrokenProvider } from './broken-providers.js';
import type { Subject } from './subject.js';

export interface Clause {
  /** A sentence: what a provider promises. */
  readonly name: string;
  /** The law (1 to 15) of `docs/promises.md` that it belongs to. */
  readonly law: number;
  /** What the proof requires. The clause is skipped for a provider without it. */
  readonly capability?: Capability;
  /** The clause must fail on this provider; a test of the kit checks it. */
  readonly broken: BrokenProvider;
  /** Rejects with an `AssertionError` if the clause does not hold. */
  run(subject: Subject): Promise<void>;
}
