/**
 * The process that is killed: `node crash-child.js <directory> <steps of dropping>`. It opens the
 * directory, prints what it found (`found {…}`), and writes as described in `crash-workload.ts`
 * until it is killed. It prints one line for each acknowledgement.
 */
import { writeSync } from 'node:fs';
import { versionSource, type CommitResult } from '../../libs/key-value-storage/src/provider.js';
import { JsonFileProvider } from '../../libs/key-value-storage/src/providers/json-file/json-file-provider.js';
import {
  batchOf,
  callers,
  counterOf,
  databaseOf,
  droppedDatabase,
  fillingBatch,
  groupAddress,
  groupBatch,
  groups,
  inspect,
  callersPerGroup,
  progressAfter,
  unchanged,
} from './crash-workload.js';
import type { Address, Row } from '../../libs/key-value-storage/src/provider.js';

const [, , directory = '', acknowledged = '0'] = process.argv;
// Synchronous: a buffered line would be lost with the process.
const print = (line: string): void => void writeSync(1, `${line}\n`);
const nextVersion = versionSource();
const provider = new JsonFileProvider({ directory });

await provider.open();
const found = await inspect(provider);
print(`found ${JSON.stringify(found)}`);
await Promise.all([
  ...Array.from({ length: callers }, (_, caller) => count(caller)),
  ...Array.from({ length: groups * callersPerGroup }, (_, counter) => countTogether(counter % groups)),
  fillAndDrop(),
]);

async function count(caller: number): Promise<void> {
  let row = await read(counterOf(caller));
  for (let number = (found.callers[caller] as number) + 1; ; number += 1) {
    const version = nextVersion();
    const [result] = await provider.commit([
      batchOf(caller, number, unchanged(counterOf(caller), row), version),
    ]);
    if (result?.outcome !== 'committed')
      return reportFault(`caller ${caller} at ${number} in ${databaseOf(caller)}`, result);
    print(`caller ${caller} ${number}`);
    row = { version, value: { kind: 'number', number: BigInt(number) }, updatedAt: result.time };
  }
}

/** Increments a shared row. After a conflict it reads again. */
async function countTogether(group: number): Promise<void> {
  for (;;) {
    const row = await read(groupAddress(group));
    const number = (row?.value.kind === 'number' ? row.value.number : 0n) + 1n;
    const [result] = await provider.commit([
      groupBatch(group, number, unchanged(groupAddress(group), row), nextVersion()),
    ]);
    if (result?.outcome === 'committed') print(`group ${group} ${number}`);
    else if (result?.outcome !== 'conflict') return reportFault(`group ${group} at ${number}`, result);
    else if (result.actual === row?.version)
      return reportFault(`group ${group} at ${number}: no conflict`, result);
  }
}

async function fillAndDrop(): Promise<void> {
  let step = progressAfter({ ...found, dropping: Number(acknowledged) }, found).dropping;
  for (;;) {
    if (step % 2 === 0) {
      const [result] = await provider.commit([fillingBatch(step + 1, nextVersion())]);
      if (result?.outcome !== 'committed') return reportFault(`filling ${step + 1}`, result);
    } else if (!(await provider.administration.drop(droppedDatabase)))
      return reportFault(`dropping ${step + 1}`, undefined);
    step += 1;
    print(`dropping ${step}`);
  }
}

async function read(address: Address): Promise<Row | undefined> {
  return (await provider.read([address])).rows[0];
}

/** Before the kill, every operation must succeed. */
function reportFault(what: string, result: CommitResult | undefined): void {
  const outcome =
    result?.outcome === 'failed' ? `${result.error.code}: ${result.error.message}` : JSON.stringify(result);
  print(`wrong ${what}: ${outcome}`);
}
