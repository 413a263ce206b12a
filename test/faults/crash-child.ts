/**
 * The process that is killed: `node crash-child.js <directory> <steps of dropping>`. It opens the
 * directory, says what it found (`found {…}`), and writes as `crash-workload.ts` says until it
 * dies, one line on its standard output for each acknowledgement (pipes are written at once on
 * POSIX).
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
  rivals,
  settle,
  unchanged,
} from './crash-workload.js';
import type { Address, Row } from '../../libs/key-value-storage/src/provider.js';

const [, , directory = '', acknowledged = '0'] = process.argv;
// at once and blocking: what a full pipe kept back would be lost with the process, and what was
// acknowledged with it
const say = (line: string): void => void writeSync(1, `${line}\n`);
const nextVersion = versionSource();
const provider = new JsonFileProvider({ directory });

await provider.open();
const found = await inspect(provider);
say(`found ${JSON.stringify(found)}`);
await Promise.all([
  ...Array.from({ length: callers }, (_, caller) => count(caller)),
  ...Array.from({ length: groups * rivals }, (_, rival) => countTogether(rival % groups)),
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
      return complain(`caller ${caller} at ${number} in ${databaseOf(caller)}`, result);
    say(`caller ${caller} ${number}`);
    row = { version, value: { kind: 'number', number: BigInt(number) }, updatedAt: result.time };
  }
}

/** Rivals: whoever is told of a conflict reads again. */
async function countTogether(group: number): Promise<void> {
  for (;;) {
    const row = await read(groupAddress(group));
    const number = (row?.value.kind === 'number' ? row.value.number : 0n) + 1n;
    const [result] = await provider.commit([
      groupBatch(group, number, unchanged(groupAddress(group), row), nextVersion()),
    ]);
    if (result?.outcome === 'committed') say(`group ${group} ${number}`);
    else if (result?.outcome !== 'conflict') return complain(`group ${group} at ${number}`, result);
    else if (result.actual === row?.version)
      return complain(`group ${group} at ${number}: no conflict`, result);
  }
}

async function fillAndDrop(): Promise<void> {
  let step = settle({ ...found, dropping: Number(acknowledged) }, found).dropping;
  for (;;) {
    if (step % 2 === 0) {
      const [result] = await provider.commit([fillingBatch(step + 1, nextVersion())]);
      if (result?.outcome !== 'committed') return complain(`filling ${step + 1}`, result);
    } else if (!(await provider.administration.drop(droppedDatabase)))
      return complain(`dropping ${step + 1}`, undefined);
    step += 1;
    say(`dropping ${step}`);
  }
}

async function read(address: Address): Promise<Row | undefined> {
  return (await provider.read([address])).rows[0];
}

/** Nothing may go wrong before the kill. */
function complain(what: string, result: CommitResult | undefined): void {
  const answer =
    result?.outcome === 'failed' ? `${result.error.code}: ${result.error.message}` : JSON.stringify(result);
  say(`wrong ${what}: ${answer}`);
}
