/** The conformance kit, and what tests of applications need. */
export { ManualClock } from './manual-clock.js';

// ─── the conformance kit
export {
  describeStorageProvider,
  prove,
  proveStore,
  type DescribeOptions,
  type TestRunner,
} from './describe-storage-provider.js';
export { clauses } from './clauses/clauses.js';
export { storeClauses } from './clauses/store-clauses.js';
export { applies, capabilities, type Abilities, type Clause, type Capability } from './clause.js';
export type { BrokenStorage, StoreClause } from './store-clause.js';
export type { Broken } from './broken.js';
export {
  abilitiesOf,
  Subject,
  type CreateOptions,
  type HeldTransaction,
  type ProviderUnderTest,
} from './subject.js';
export { collect, StoreSubject } from './store-subject.js';
export { onSubject } from './subject.js';

// ─── for kits of packages that build on the port
export {
  breaks,
  changesAnswers,
  changesBatches,
  changesChanges,
  changesPages,
  changesReads,
  commitOne,
  commitsOtherwise,
} from './broken.js';
export { replacing } from './store-clause.js';
export { race, assertRejects, assertThrows } from './verbs.js';

export { temporaryJsonFile, type TemporaryJsonFile } from './temporary-json-file.js';
export { SurvivingMemory } from './surviving-memory.js';
export { hostileKeys, orderedKeys } from './hostile-keys.js';

export { overrideStorage } from './override-storage.js';
