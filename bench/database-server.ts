/**
 * A Postgres server with full durability for the measurements: the server of `BENCH_POSTGRES_URL`,
 * or one that is started like the servers of the tests. A child process stops it when this process
 * ends, however it ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { root } from './root.js';

export interface DatabaseServer {
  readonly url: string;
  /** Its release and its durability settings. */
  readonly description: string;
  /** The folder of its data; unknown for `BENCH_POSTGRES_URL`. */
  readonly directory: string | undefined;
  /** Creates an empty schema. */
  create(schema: string): Promise<void>;
  drop(schema: string): Promise<void>;
  /** Vacuums and checkpoints, so that the work left by filling does not fall into a window. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** Number of connections in the pool of each contender. */
export const poolSize = 10;

export async function startPostgres(directory: string): Promise<DatabaseServer> {
  const externalUrl = process.env['BENCH_POSTGRES_URL'];
  const own = externalUrl ? undefined : await startOwn(directory);
  const url = own?.url ?? externalUrl ?? '';
  const admin = new Client({ connectionString: url });
  try {
    await admin.connect();
    const description = await describe(admin);
    return {
      url,
      description,
      directory: own?.directory,
      create: async (schema) => void (await admin.query(`create schema ${admin.escapeIdentifier(schema)}`)),
      drop: async (schema) =>
        void (await admin.query(`drop schema if exists ${admin.escapeIdentifier(schema)} cascade`)),
      settle: async () => {
        await admin.query('vacuum analyze');
        await admin.query('checkpoint');
      },
      close: async () => {
        await admin.end();
        await own?.end();
      },
    };
  } catch (error) {
    await admin.end().catch(() => undefined);
    await own?.end();
    throw error;
  }
}

/** Throws if the server acknowledges commits that are not on the disk. */
async function describe(admin: Client): Promise<string> {
  const names = ['server_version', 'fsync', 'synchronous_commit', 'full_page_writes'];
  const { rows } = await admin.query<{ name: string; setting: string }>(
    'select name, setting from pg_settings where name = any($1) order by array_position($1::text[], name)',
    [names],
  );
  const [version, ...durability] = rows;
  if (durability.some(({ setting }) => setting === 'off'))
    throw new Error(
      `The server must be durable; got ${durability.map(({ name, setting }) => `${name} ${setting}`).join(', ')}.`,
    );
  return `Postgres ${version?.setting ?? ''}, ${durability.map(({ name, setting }) => `${name} ${setting}`).join(', ')}; ${poolSize} connections each`;
}

async function startOwn(
  directory: string,
): Promise<{ readonly url: string; readonly directory: string; end(): Promise<void> }> {
  const script = join(root, 'test', 'postgres', 'server-child.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, join(directory, 'servers')], {
    cwd: root,
    env: { ...process.env, TMPDIR: directory },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  for await (const line of createInterface(child.stdout)) {
    const { url, directory: dataDirectory } = JSON.parse(line) as {
      readonly url: string;
      readonly directory: string;
    };
    return {
      url,
      directory: dataDirectory,
      end: async () => {
        child.stdin.end();
        await ended;
      },
    };
  }
  throw new Error('The Postgres server for the measurements did not start.');
}
