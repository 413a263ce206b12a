/** The conformance kit, and what tests of applications need. */
export { ManualClock } from './manual-clock.js';
export { clauses } from './clauses/clauses.js';
export { applies, needs, type Abilities, type Clause, type Need } from './clause.js';
export { describeStorageProvider, prove, type DescribeOptions, type TestRunner } from './describe-storage-provider.js';
export { Subject, type CreateOptions, type ProviderUnderTest } from './subject.js';
export { SurvivingMemory } from './surviving-memory.js';
export { overrideStorage } from './override-storage.js';
