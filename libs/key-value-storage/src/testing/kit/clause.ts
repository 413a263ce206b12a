/**
 * The contract is data: each clause is a sentence, a proof that runs on any provider, and a broken
 * provider that the proof must catch. `describeStorageProvider` hands the list to a test runner,
 * `docs/reference/contract.md` is printed from it.
 */
import type { Capability } from './abilities.js';
import type { BrokenProvider } from './broken-providers.js';
import type { Subject } from './subject.js';

export interface Clause {
  /** A whole sentence: what a provider promises. */
  readonly name: string;
  /** The law (1 to 14) of `docs/promises.md` that it belongs to. */
  readonly law: number;
  /** What it can only be proven with. A provider that does not claim it is not asked. */
  readonly capability?: Capability;
  /** What it must catch: the test of the kit runs the clause on it, and it has to fail. */
  readonly broken: BrokenProvider;
  /** Proves it, or throws an `AssertionError`. */
  run(subject: Subject): Promise<void>;
}
