/**
 * Jest's `testSequencer`: the slowest files begin first, so that no worker is left alone with one at the end. Jest does so by itself where it
 * remembers how long each took; a fresh clone, as CI is, remembers nothing, and the smallest of our files are among the slowest.
 */
import TestSequencer from '@jest/test-sequencer';

/** Seconds on two cores, roughly: what counts is the order. Whatever is not here takes a few. */
const seconds = {
  'test/e2e/process.spec.ts': 60,
  'test/contract/contract-postgres.spec.ts': 60,
  'test/contract/contract.spec.ts': 40,
  'test/faults/json-file-kill.spec.ts': 40,
  'test/packaging/nest-12.spec.ts': 40,
  'test/packaging/nest-11.spec.ts': 40,
  'test/packaging/jest-under-commonjs.spec.ts': 35,
  'test/faults/json-file-power-cut.spec.ts': 30,
  'test/faults/json-file-failing-calls.spec.ts': 30,
  'test/faults/json-file-damage.spec.ts': 30,
  'test/faults/postgres-two-processes.spec.ts': 30,
  'test/packaging/published-package.spec.ts': 30,
  'test/faults/json-file-two-processes.spec.ts': 25,
  'test/faults/postgres-trouble.spec.ts': 20,
  'test/faults/postgres-cluster.spec.ts': 20,
  'test/packaging/bench.spec.ts': 20,
  'test/contract/model.spec.ts': 15,
  'test/types/types.spec.ts': 15,
  'test/e2e/random-operations.spec.ts': 15,
};
const otherwise = 5;
const known = Object.entries(seconds);

export default class SlowFirst extends TestSequencer {
  /** How long a file took the last time, in milliseconds; what it is sorted by. */
  time(test) {
    const path = test.path.replaceAll('\\', '/');
    return super.time(test) ?? 1_000 * (known.find(([name]) => path.endsWith(`/${name}`))?.[1] ?? otherwise);
  }
}
