import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { programsFor, serverFolder, serverUser } from './binaries.js';
import { asAdmin, freshDatabase, workerDatabase } from './databases.js';
import { childrenOf, ended, identify, isRunning, self, type Identity } from './processes.mjs';
import {
  endServersOf,
  forget,
  reapOrphans,
  recorded,
  recordsFolder,
  remember,
  type ServerRecord,
} from './records.mjs';
import { currentRun } from './runs.mjs';
import { PostgresServer } from './server.js';
import { until } from './until.js';

interface Child {
  readonly child: ChildProcess;
  readonly record?: ServerRecord;
}

interface Started {
  readonly pid: number;
  readonly directory: string;
  readonly url: string;
}

const query = async (url: string, sql: string): Promise<Record<string, unknown>[]> =>
  asAdmin(url, async (client) => (await client.query<Record<string, unknown>>(sql)).rows);

describe('a Postgres server under test', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.create({ config: ["application_name = 'spec'"] });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it('is Postgres 18 with full durability and the given settings', async () => {
    const [row] = await query(
      server.url(),
      `select version(), current_setting('fsync') fsync, current_setting('synchronous_commit') commit, current_setting('application_name') name`,
    );
    expect(row).toMatchObject({
      version: expect.stringContaining('PostgreSQL 18'),
      fsync: 'on',
      commit: 'on',
      name: 'spec',
    });
  });

  it('sorts text in English by default, not by bytes', async () => {
    expect(await query(server.url(), `select 'B' < 'a' wrong, 'B' < 'a' collate "C" right`)).toEqual([
      { wrong: false, right: true },
    ]);
  });

  it('has every acknowledged row after a kill under load, and none of its processes remains', async () => {
    const before = server.pid as number;
    const processes = [identify(before) as Identity, ...childrenOf(before)];
    await query(server.url(), 'create table kept (number int)');
    const writers = Array.from({ length: 4 }, (_, writer) => writeUntilCut(server.url(), writer));
    await untilCount(
      async () => (await query(server.url(), 'select count(*)::int as count from kept'))[0]?.['count'],
      100,
    );
    await server.kill();
    const acknowledged = (await Promise.all(writers)).flat();
    expect(processes.filter(isRunning)).toEqual([]);
    expect(server.pid).toBeUndefined();

    await server.restart();
    expect(server.pid).not.toBe(before);
    const found = new Set((await query(server.url(), 'select number from kept')).map(({ number }) => number));
    expect(acknowledged.filter((number) => !found.has(number))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(90);
    expect(await server.log()).toContain('automatic recovery in progress');
  });

  it.each(['fast', 'immediate'] as const)('starts again on the same port after a stop (%s)', async (mode) => {
    const { port } = server;
    await server.stop(mode);
    await expect(query(server.url(), 'select 1')).rejects.toThrow('ECONNREFUSED');
    await server.start();
    expect(server.port).toBe(port);
    expect(await query(server.url(), 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('writes errors with their codes into a readable log', async () => {
    await expect(query(server.url(), 'select 1 / 0 as nothing')).rejects.toThrow('division by zero');
    expect(await server.log()).toMatch(/ 22012 ERROR: {2}division by zero/);
  });

  it('reports why it cannot start', async () => {
    await expect(PostgresServer.create({ config: ['max_connections = many'] })).rejects.toThrow(
      'max_connections',
    );
  });
});

describe('the programs of Postgres', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kvent-programs-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** An installation without the install script. */
  function installed(): string {
    const native = join(folder, 'native');
    for (const name of ['lib', 'bin']) mkdirSync(join(native, name), { recursive: true });
    for (const name of ['postgres', 'initdb', 'pg_ctl'])
      writeFileSync(join(native, 'bin', name), '', { mode: 0o755 });
    writeFileSync(join(native, 'lib/libpq.so.5.18'), 'library');
    writeFileSync(
      join(native, 'pg-symlinks.json'),
      '[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]',
    );
    return native;
  }

  it('get their links if npm ran no install script', () => {
    const native = installed();
    expect(programsFor(folder, undefined, native)).toBe(join(native, 'bin'));
    expect(readFileSync(join(native, 'lib/libpq.so.5'), 'utf8')).toBe('library');
    expect(programsFor(folder, undefined, native)).toBe(join(native, 'bin'));
  });

  it('are copied to a folder that the user of the server can reach', () => {
    const target = join(folder, 'place');
    chmodSync(folder, 0o700);
    expect(programsFor(target, { uid: 4_242, gid: 4_242 }, installed())).toBe(join(target, 'programs/bin'));
    expect(readFileSync(join(target, 'programs/lib/libpq.so.5'), 'utf8')).toBe('library');
  });

  it('use a folder that the user of the server can reach', () => {
    chmodSync(folder, 0o700);
    const target = serverFolder({ uid: 4_242, gid: 4_242 }, [folder, '/tmp']);
    rmSync(target, { recursive: true });
    expect(dirname(target)).toBe('/tmp');
  });
});

describe('the servers of a run', () => {
  let folder: string;
  let records: string;
  const children: Child[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kvent-records-'));
    records = join(folder, 'records');
    mkdirSync(records);
  });
  afterEach(async () => {
    const ours = children.splice(0);
    for (const { child } of ours) await killed(child);
    await reapOrphans(records);
    for (const { record } of ours) if (record !== undefined) forget(recordsFolder, record);
    rmSync(folder, { recursive: true });
  });

  it('are stopped and their data removed after their owner was killed, and not before', async () => {
    const [child, started] = await startChild(children, records);
    const server = identify(started.pid) as Identity;
    expect(await reapOrphans(records)).toEqual([]);
    expect(isRunning(server)).toBe(true);

    await killed(child);
    expect(isRunning(server)).toBe(true); // an orphan
    expect(await reapOrphans(records)).toHaveLength(1);
    expect(isRunning(server)).toBe(false);
    expect(existsSync(started.directory)).toBe(false);
    expect(recorded(records)).toEqual([]);
  });

  it('are found by their data if their owner was killed before it recorded the pid', async () => {
    const [child, started] = await startChild(children, records);
    await killed(child);
    for (const { server: _, ...record } of recorded(records)) remember(records, record);
    await reapOrphans(records);
    expect(identify(started.pid)).toBeUndefined();
  });

  it('are not confused with another process that has their pid', async () => {
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    children.push({ child: stranger });
    const otherProcess = identify(stranger.pid as number) as Identity;
    const directory = mkdtempSync(join(folder, 'gone-'));
    remember(records, {
      directory,
      owner: { ...self(), startedAt: 'long ago' },
      run: 'killed',
      lent: false,
      server: otherProcess,
    });
    expect(await reapOrphans(records)).toHaveLength(1);
    expect(isRunning(otherProcess)).toBe(true);
    expect(existsSync(directory)).toBe(false);
  });

  it('are stopped with the run, and those that a test should have stopped are reported', async () => {
    const server = await PostgresServer.create({ records });
    const lent = await PostgresServer.create({ records, lentBy: self() });
    const run = currentRun() as string;
    expect((await endServersOf('another run', records)).map(({ directory }) => directory)).toEqual([]);
    expect((await endServersOf(run, records)).map(({ directory }) => directory)).toEqual([server.directory]);
    expect([server.isRunning, lent.isRunning]).toEqual([false, false]);
  });

  it('run as an ordinary user, also for root', async () => {
    const user = serverUser();
    if (user === undefined) {
      process.stderr.write('    (not root: every server here has been running as an ordinary user)\n');
      return;
    }
    chmodSync(folder, 0o777);
    chmodSync(records, 0o777);
    const programs = programsFor(folder, user);
    const [child, started] = await startChild(
      children,
      records,
      programs,
      String(user.uid),
      String(user.gid),
    );
    expect(lstatSync(started.directory).uid).toBe(user.uid);
    expect(await query(started.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    child.stdin?.end();
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(existsSync(started.directory)).toBe(false);
  });
});

describe('the databases of a run', () => {
  it('are empty, separate, and dropped when they are disposed, even if a client is connected', async () => {
    const one = await freshDatabase();
    await using other = await freshDatabase();
    await query(one.url, 'create table here (x int)');
    expect(
      await query(other.url, "select count(*)::int as count from pg_tables where schemaname = 'public'"),
    ).toEqual([{ count: 0 }]);
    const guest = new Client({ connectionString: one.url });
    await guest.connect();
    guest.on('error', () => undefined); // the connection is closed
    const cut = new Promise<void>((resolve) => guest.once('end', resolve));
    await one[Symbol.asyncDispose]();
    await cut;
    await expect(query(one.url, 'select 1')).rejects.toThrow('does not exist');
  });

  it('are one per worker, and remain', async () => {
    const url = await workerDatabase();
    await query(url, 'create table if not exists stays (x int)');
    expect(await workerDatabase()).toBe(url);
    expect(await query(url, 'select * from stays')).toEqual([]);
  });
});

/** Writes until the connection is cut. Returns the acknowledged numbers. */
async function writeUntilCut(url: string, writer: number): Promise<readonly number[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // the connection is cut
  await client.connect();
  const acknowledged: number[] = [];
  try {
    for (let number = writer; ; number += 4) {
      await client.query('insert into kept values ($1)', [number]);
      acknowledged.push(number);
    }
  } catch {
    return acknowledged;
  }
}

async function untilCount(count: () => Promise<unknown>, least: number): Promise<void> {
  await until(`${least} rows are there`, async () => Number(await count()) >= least);
}

/**
 * Starts a process with a server. The server is recorded for later runs too, because this run may
 * be killed during the test.
 */
async function startChild(children: Child[], ...args: readonly string[]): Promise<[ChildProcess, Started]> {
  const script = join(import.meta.dirname, 'server-child.ts');
  const options = ['--conditions=kvent-source', '--import', 'tsx', script, ...args];
  const child = spawn(process.execPath, options, { stdio: ['pipe', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) {
    const started = JSON.parse(line) as Started;
    const server = identify(started.pid) as Identity;
    const record = {
      directory: started.directory,
      owner: self(),
      run: currentRun() ?? '',
      lent: false,
      server,
    };
    remember(recordsFolder, record);
    children.push({ child, record });
    return [child, started];
  }
  throw new Error('The process ended before it had a server.');
}

async function killed(child: ChildProcess): Promise<void> {
  const identity = identify(child.pid as number);
  child.kill('SIGKILL');
  if (identity !== undefined) await ended([identity], 120_000);
}
