/**
 * A process that opens a directory and runs commands: `node lock-child.js <directory> <lock timeout
 * in ms>`. Each line on its standard input is `put <key> <text>`, `get <key>`, `scan`, `drop` or
 * `close`. It prints the outcome of opening and of each command as a line of JSON.
 */
import { createInterface } from 'node:readline';
import { isStorageError, versionSource, type Address } from '../../libs/key-value-storage/src/provider.js';
import { JsonFileProvider } from '../../libs/key-value-storage/src/providers/json-file/json-file-provider.js';

const [, , directory = '', timeout = '0'] = process.argv;
const nextVersion = versionSource();
const provider = new JsonFileProvider({ directory, lockTimeoutMs: Number(timeout) });
const namespace = { database: 'shared', container: 'state:lock', entity: 'rows' };
const addressOf = (key: string): Address => ({ ...namespace, key });

async function run(line: string): Promise<unknown> {
  const [verb, key = '', text = ''] = line.split(' ');
  switch (verb) {
    case 'put': {
      const value = { kind: 'json', text: JSON.stringify(text) } as const;
      const change = { kind: 'put', address: addressOf(key), value, ttl: 'never' } as const;
      const [result] = await provider.commit([
        { database: 'shared', version: nextVersion(), checks: [], changes: [change] },
      ]);
      if (result?.outcome === 'failed') throw result.error;
      return result?.outcome;
    }
    case 'get': {
      const [row] = (await provider.read([addressOf(key)])).rows;
      return row?.value.kind === 'json' ? (JSON.parse(row.value.text) as string) : null;
    }
    case 'scan': {
      const [page] = await provider.scan([{ ...namespace, limit: 10 }]);
      return page?.rows.map((row) => row.key);
    }
    case 'drop':
      return await provider.administration.drop('shared');
    case 'close':
      return await provider.close();
    default:
      return await provider.open();
  }
}

async function reply(line: string): Promise<void> {
  let outcome: object;
  try {
    outcome = { done: (await run(line)) ?? null };
  } catch (error) {
    outcome = isStorageError(error)
      ? { code: error.code, effect: error.effect, message: String(error) }
      : { code: 'none', message: String(error) };
  }
  process.stdout.write(`${JSON.stringify({ to: line, ...outcome })}\n`);
}

await reply('open');
for await (const line of createInterface({ input: process.stdin })) void reply(line);
process.exit(0);
