/**
 * A real Postgres server with full durability: its own data, port and log. It can be stopped,
 * killed, and started again on the same port.
 *
 * ```ts
 * await using server = await PostgresServer.create({ config: ["deadlock_timeout = '100ms'"] });
 * server.url(); // of the database 'postgres', as superuser
 * await server.kill(); // SIGKILL to all of its processes at once
 * await server.restart(); // recovers, on the same port, with the same data
 * await server.log(); // the whole log since it was created
 * ```
 *
 * Most tests need only a database: `databases.ts`.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { appendFile, chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { programsFor, serverFolder, serverUser, type ServerUser } from './binaries.js';
import { freePort } from './free-port.js';
import { childrenOf, ended, identify, isRunning, self, send, type Identity } from './processes.mjs';
import { forget, reapOrphans, recordsFolder, remember } from './records.mjs';
import { currentRun } from './runs.mjs';

export interface ServerOptions {
  /** Lines of `postgresql.conf`, after the default settings. */
  readonly config?: readonly string[];
  /** Fills the empty data directory. Existing data need their `password`. @default `initdb` */
  readonly fill?: (dataDirectory: string) => Promise<void>;
  readonly password?: string;
  /** The folder of its programs. @default where they are installed */
  readonly programs?: string;
  /** The process that stops it. @default this process */
  readonly lentBy?: Identity;
  /** The folder of its record, from which orphans are found. */
  readonly records?: string;
}

/**
 * `fast`: sessions are ended, everything is written. `immediate`: only the processes are ended; the
 * next start recovers.
 */
export type StopMode = 'fast' | 'immediate';

const timeoutMs = 120_000;
const bindAttempts = 10;
const signals = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** The settings of every server, with full durability. */
const settings = [
  "listen_addresses = '127.0.0.1'",
  "unix_socket_directories = ''",
  'max_connections = 300',
  "shared_buffers = '64MB'",
  'fsync = on',
  'full_page_writes = on',
  'synchronous_commit = on',
  // A crash of the server loses nothing that it has written, but recovery syncs every file: one
  // call instead of a thousand.
  ...(process.platform === 'linux' ? ['recovery_init_sync_method = syncfs'] : []),
  // In the folder of the data, so that it is removed with a killed server.
  'dynamic_shared_memory_type = mmap',
  "lc_messages = 'C'",
  "log_timezone = 'UTC'",
  "log_line_prefix = '%m [%p] %d %a %e '", // %e: deadlocks are found as 40P01
  'log_lock_waits = on',
];

export class PostgresServer implements AsyncDisposable {
  /** All files of this server; the data are in `data`. */
  readonly directory: string;
  readonly password: string;
  readonly #programs: string;
  readonly #user: ServerUser;
  readonly #options: ServerOptions;
  #port = 0;
  #process: Identity | undefined;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#user = serverUser();
    this.directory = serverFolder(this.#user);
    this.#programs = options.programs ?? programsFor(this.directory, this.#user);
    this.password = options.password ?? randomBytes(12).toString('hex');
  }

  /** Creates and starts a server. Servers of killed runs are stopped first. */
  static async create(options: ServerOptions = {}): Promise<PostgresServer> {
    await reapOrphans(options.records);
    const server = new PostgresServer(options);
    server.#saveRecord();
    try {
      await server.#prepare();
      await server.#startOnFreePort();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get port(): number {
    return this.#port;
  }

  get dataDirectory(): string {
    return join(this.directory, 'data');
  }

  get logFile(): string {
    return join(this.directory, 'log');
  }

  /** The pid of its first process, while it runs. */
  get pid(): number | undefined {
    return this.isRunning ? this.#process?.pid : undefined;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && isRunning(this.#process);
  }

  /** The address of a database, as superuser. */
  url(database = 'postgres'): string {
    return `postgres://kvent:${this.password}@127.0.0.1:${this.#port}/${encodeURIComponent(database)}`;
  }

  /** The whole log since it was created. */
  log(): Promise<string> {
    return readFile(this.logFile, 'utf8');
  }

  /** Appends lines of configuration, which take effect at the next start. */
  async configure(...lines: readonly string[]): Promise<void> {
    await appendFile(join(this.dataDirectory, 'postgresql.conf'), lines.map((line) => `${line}\n`).join(''));
  }

  /** Starts it on its port, and resolves when it accepts connections. */
  async start(): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    // An outgoing connection of another process may have the port for a moment.
    while (!(await this.#launch())) {
      if (Date.now() > deadline) throw new Error(`Port ${this.#port} is used by another process.`);
    }
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    await this.#end(signals[mode]);
  }

  /** `kill -9` of all its processes at once: nothing is written. */
  async kill(): Promise<void> {
    if (this.#process === undefined) return;
    send(this.#process, 'SIGSTOP'); // so that it starts no process while they are listed
    const all = [this.#process, ...childrenOf(this.#process.pid)];
    for (const each of all) send(each, 'SIGKILL');
    await this.#waitForEnd(all);
  }

  /** Stops it (fast) if it runs, and starts it. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Runs another program of Postgres, for example `pg_ctl`, as the user of the server. */
  async run(program: string, ...args: readonly string[]): Promise<void> {
    const log = openSync(this.logFile, 'a');
    try {
      const child = spawn(join(this.#programs, program), args, {
        ...this.#spawning(),
        stdio: ['ignore', log, log],
      });
      const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
      if (code !== 0) throw new Error(`${program} ended with ${String(code)}:\n${await this.#endOfLog()}`);
    } finally {
      closeSync(log);
    }
  }

  /** Ends it and removes its data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('SIGQUIT');
    await rm(this.directory, { recursive: true, force: true, maxRetries: 10 });
    forget(this.#records, this.#record());
  }

  async #prepare(): Promise<void> {
    await this.#chown(this.directory);
    await mkdir(this.dataDirectory, { mode: 0o700 });
    await this.#chown(this.dataDirectory);
    await writeFile(this.logFile, '');
    if (this.#options.fill === undefined) await this.#initialise();
    else await this.#options.fill(this.dataDirectory);
    await this.configure(...settings, ...(this.#options.config ?? []));
  }

  /**
   * English ICU collation by default, so that code which needs the order of bytes fails unless it
   * says so. One iteration of SCRAM is enough for a temporary password.
   */
  async #initialise(): Promise<void> {
    const passwordFile = join(this.directory, 'password');
    await writeFile(passwordFile, this.password, { mode: 0o600 });
    await this.#chown(passwordFile);
    const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=icu', '--icu-locale=en-US'];
    const login = [
      '--username=kvent',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      '-c',
      'scram_iterations=1',
    ];
    await this.run(
      'initdb',
      `--pgdata=${this.dataDirectory}`,
      '--no-sync',
      '--no-instructions',
      ...locale,
      ...login,
    );
    await rm(passwordFile);
  }

  async #startOnFreePort(): Promise<void> {
    for (let attempt = 1; attempt <= bindAttempts; attempt += 1) {
      this.#port = await freePort();
      if (await this.#launch()) return;
    }
    throw new Error(`Postgres could bind none of ${bindAttempts} free ports.`);
  }

  /** Returns false if the port is used. */
  async #launch(): Promise<boolean> {
    const logLengthBefore = (await this.log()).length;
    this.#spawn();
    this.#saveRecord();
    const deadline = Date.now() + timeoutMs;
    while (!(await this.#isReady())) {
      if (!this.isRunning) {
        if ((await this.log()).slice(logLengthBefore).includes('could not bind')) return false;
        throw new Error(`Postgres does not start:\n${await this.#endOfLog()}`);
      }
      if (Date.now() > deadline)
        throw new Error(`Postgres is not ready after ${timeoutMs} ms:\n${await this.#endOfLog()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return true;
  }

  /**
   * In its own session, so that a signal to the test run (Ctrl-C, the end of a Jest worker) does
   * not stop it.
   */
  #spawn(): void {
    const log = openSync(this.logFile, 'a');
    try {
      const args = ['-D', this.dataDirectory, '-p', String(this.#port)];
      const child = spawn(join(this.#programs, 'postgres'), args, {
        ...this.#spawning(),
        detached: true,
        stdio: ['ignore', log, log],
      });
      child.on('error', () => undefined); // reported below
      child.unref();
      if (child.pid === undefined) throw new Error(`${join(this.#programs, 'postgres')} cannot be started.`);
      this.#process = identify(child.pid);
    } finally {
      closeSync(log);
    }
  }

  /** The server writes its state into this file, for `pg_ctl`. */
  async #isReady(): Promise<boolean> {
    const lines = (await readFile(join(this.dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '')).split(
      '\n',
    );
    return lines[0] === String(this.#process?.pid) && lines[7]?.trim() === 'ready';
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#process === undefined) return;
    send(this.#process, signal);
    await this.#waitForEnd([this.#process]);
  }

  async #waitForEnd(processes: readonly Identity[]): Promise<void> {
    if (await ended(processes, timeoutMs)) return;
    throw new Error(
      `Postgres ${processes.map(({ pid }) => pid).join(', ')} does not end:\n${await this.#endOfLog()}`,
    );
  }

  #saveRecord(): void {
    remember(this.#records, this.#record());
  }

  #record() {
    const owner = this.#options.lentBy ?? self();
    const lent = this.#options.lentBy !== undefined;
    const record = { directory: this.directory, owner, run: currentRun() ?? '', lent };
    return this.#process === undefined ? record : { ...record, server: this.#process };
  }

  get #records(): string {
    return this.#options.records ?? recordsFolder;
  }

  #spawning() {
    return { ...this.#user, cwd: this.directory, env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' } };
  }

  async #chown(path: string): Promise<void> {
    if (this.#user !== undefined) await chown(path, this.#user.uid, this.#user.gid);
  }

  async #endOfLog(): Promise<string> {
    return (await this.log()).split('\n').slice(-15).join('\n');
  }
}
