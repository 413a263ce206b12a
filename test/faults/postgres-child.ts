/**
 * A process of an application on Postgres: `postgres-child.ts <url> <work> <number of this process>
 * <rounds>`. It opens the storage, prints `open`, waits for a line on its standard input, so that
 * several processes begin together, does its work (`postgres-work.ts`), and prints its report as a
 * line of JSON.
 */
import { once } from 'node:events';
import { openStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { works, type WorkName } from './postgres-work.js';

const [, , url = '', work = '', process_ = '0', rounds = '0'] = process.argv;
// an exit would cut a long line that is not yet taken
const print = (line: unknown): Promise<void> =>
  new Promise((resolve) => process.stdout.write(`${JSON.stringify(line)}\n`, () => resolve()));

{
  await using storage = await openStorage(new PostgresProvider({ url, lockTimeoutMs: 100_000 }));
  await print('open');
  await once(process.stdin, 'data');
  await print(
    await works[work as WorkName](storage, { url, process: Number(process_), rounds: Number(rounds) }),
  );
}
process.exit(0);
