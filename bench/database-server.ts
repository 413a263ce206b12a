/**
 * A Postgres server to measure on, with full durability: one of its own, or that of
 * `BENCH_POSTGRES_URL`. Its own is the server that the tests use, in a process that ends it when
 * this one ends, however it ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { root } from './root.js';

export interface DatabaseServer {
  readonly url: string;
  /** Its release, and what an acknowledged commit means to it. */
  readonly description: string;
  /** Where its data are; not known of a server that was named. */
  readonly directory: string | undefined;
  /** An empty schema of this name, or one less. */
  create(schema: string): Promise<void>;
  drop(schema: string): Promise<void>;
  /**
   * Writes down what filling has left to do, so that nobody pays for it while others are measured.
   */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** Connections of everybody's pool. */
export const poolSize = 10;

export async function startPostgres(directory: string): Promise<DatabaseServer> {
  const named = process.env['BENCH_POSTGRES_URL'];
  const own = named ? undefined : await startOwn(directory);
  const url = own?.url ?? named ?? '';
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

/**
 * Throws where an acknowledged commit is not on the disk: that would flatter everybody who asks for
 * one.
 */
async function describe(admin: Client): Promise<string> {
  const names = ['server_version', 'fsync', 'synchronous_commit', 'full_page_writes'];
  const { rows } = await admin.query<{ name: string; setting: string }>(
    'select name, setting from pg_settings where name = any($1) order by array_position($1::text[], name)',
    [names],
  );
  const [version, ...durability] = rows;
  if (durability.some(({ setting }) => setting === 'off'))
    throw new Error(
      `The server does not write what it acknowledges: ${durability.map(({ name, setting }) => `${name} ${setting}`).join(', ')}.`,
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
    const { url, directory: place } = JSON.parse(line) as {
      readonly url: string;
      readonly directory: string;
    };
    return {
      url,
      directory: place,
      end: async () => {
        child.stdin.end();
        await ended;
      },
    };
  }
  throw new Error('The Postgres server to measure on does not start.');
}
