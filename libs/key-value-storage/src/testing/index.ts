/**
 * The conformance kit, and what tests of applications need.
 *
 * @module @kvent/key-value-storage/testing
 */

export { ManualClock } from './kit/manual-clock.js';

// ─── the conformance kit
export {
  describeStorageProvider,
  proveClause,
  proveStoreClause,
  type DescribeOptions,
  type TestRunner,
} from './describe-storage-provider.js';
export { clauses } from './clauses/clauses.js';
export { storeClauses } from './clauses/store-clauses.js';
export { applies, capabilities, type Abilities, type Capability } from './kit/abilities.js';
export type { Clause } from './kit/clause.js';
export type { BrokenStorage, StoreClause } from './kit/store-clause.js';
export type { BrokenProvider } from './kit/broken-providers.js';
export {
  abilitiesOf,
  Subject,
  type CreateOptions,
  type OpenTransaction,
  type ProviderUnderTest,
} from './kit/subject.js';
export { collect, StoreSubject } from './kit/store-subject.js';
export { runOnSubject } from './kit/subject.js';

// ─── for kits of packages that build on the port
export {
  breaks,
  changesResults,
  changesBatches,
  changesChanges,
  changesPages,
  changesReads,
  commitOne,
  replacesCommit,
} from './kit/broken-providers.js';
export { replacing } from './kit/store-clause.js';
export { concurrently, assertRejects, assertThrows } from './kit/assertions.js';

export { temporaryJsonFile, type TemporaryJsonFile } from './temporary-json-file.js';
export { DurableMemory } from './kit/durable-memory.js';
export { hostileKeys, orderedKeys } from './kit/hostile-keys.js';

export { expectReadable, writeFixture, type ReadFixture } from './state-fixtures.js';
export { overrideStorage } from './override-storage.js';
