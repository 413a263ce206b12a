/**
 * Jest's `testSequencer`: the slowest files begin first, so that no worker is left alone with one
 * at the end. Jest does so by itself where it remembers how long each took; a fresh clone, as CI
 * is, remembers nothing, and the smallest of our files are among the slowest.
 */
import TestSequencer from '@jest/test-sequencer';

/**
 * Seconds on two cores, in one whole run: what counts is the order. Whatever is not here takes a
 * few.
 */
const seconds = {
  'test/contract/contract-postgres.spec.ts': 105,
  'test/cli/cli.spec.ts': 105,
  'test/e2e/process.spec.ts': 100,
  'test/docs/examples.spec.ts': 45,
  'test/packaging/published-package.spec.ts': 80,
  'test/packaging/nest-12.spec.ts': 75,
  'test/faults/json-file-damage.spec.ts': 60,
  'test/contract/contract.spec.ts': 36,
  'test/faults/json-file-power-cut.spec.ts': 35,
  'test/contract/model.spec.ts': 33,
  'test/packaging/nest-11.spec.ts': 70,
  'test/packaging/nest-oldest.spec.ts': 35,
  'test/packaging/postgres-peers.spec.ts': 40,
  'test/packaging/bench.spec.ts': 26,
  'test/faults/streams-kill.spec.ts': 30,
  'test/streams/streams-postgres.spec.ts': 45,
  'test/streams/streams.spec.ts': 30,
  'test/streams/sessions-model.spec.ts': 26,
  'test/faults/streams-two-processes.spec.ts': 25,
  'test/streams/streams-postgres-without-locks.spec.ts': 20,
  'test/faults/json-file-kill.spec.ts': 26,
  'test/faults/json-file-failing-calls.spec.ts': 45,
  'test/faults/postgres-two-processes.spec.ts': 24,
  'test/contract/broken.spec.ts': 24,
  'test/architecture/architecture.spec.ts': 12,
  'test/faults/json-file-two-processes.spec.ts': 18,
  'test/e2e/orders.spec.ts': 25,
  'test/e2e/random-operations.spec.ts': 17,
  'test/faults/postgres-trouble.spec.ts': 14,
  'test/e2e/checkout.spec.ts': 15,
  'test/e2e/demo-script.spec.ts': 15,
  'test/faults/json-file-takeover.spec.ts': 14,
  'test/faults/postgres-crash.spec.ts': 14,
  'test/contract/any-runner.spec.ts': 13,
  'test/postgres/server.spec.ts': 13,
  'test/types/types.spec.ts': 12,
  'test/postgres/cluster.spec.ts': 12,
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
