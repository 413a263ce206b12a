/**
 * One real Postgres server under test, with full durability: its own data, its own port, a log that
 * can be read. It can be stopped as an operator stops it, killed as the machine kills it, and
 * started again on the same port.
 *
 *   await using server = await PostgresServer.create({ config: ["deadlock_timeout = '100ms'"] });
 *   server.url();            // postgres://… of the database 'postgres', as superuser
 *   await server.kill();     // SIGKILL for all of its processes at once
 *   await server.restart();  // recovers, same port, same data
 *   await server.log();      // everything it has said since it was created
 *
 * Most tests want a database and not a server: `databases.ts`.
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
  /** Lines of `postgresql.conf`, after those that every server gets. */
  readonly config?: readonly string[];
  /**
   * Fills the empty data directory; `initdb` unless told otherwise. What it fills it with needs the
   * `password` it was made with.
   */
  readonly fill?: (dataDirectory: string) => Promise<void>;
  readonly password?: string;
  /** Where its programs are, if not where they were installed. */
  readonly programs?: string;
  /** Who is to stop it, if that is not this process. */
  readonly lentBy?: Identity;
  /** Where it is noted for whoever reaps orphans. */
  readonly records?: string;
}

/**
 * 'fast': sessions are cut off, everything is written. 'immediate': as little as possible is done;
 * the next start recovers.
 */
export type StopMode = 'fast' | 'immediate';

const patienceMs = 120_000;
const bindAttempts = 10;
const signals = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** What every server gets. Durability stays as it comes: full. */
const settings = [
  "listen_addresses = '127.0.0.1'",
  "unix_socket_directories = ''",
  'max_connections = 300',
  "shared_buffers = '64MB'",
  'fsync = on',
  'full_page_writes = on',
  'synchronous_commit = on',
  // a crash of the server loses nothing that it gave to the system, but recovery syncs every file
  // for all that: one call instead of a thousand
  ...(process.platform === 'linux' ? ['recovery_init_sync_method = syncfs'] : []),
  // lies with the data, so that nothing outlives a server that was killed
  'dynamic_shared_memory_type = mmap',
  "lc_messages = 'C'",
  "log_timezone = 'UTC'",
  "log_line_prefix = '%m [%p] %d %a %e '", // %e: deadlocks are found as 40P01
  'log_lock_waits = on',
];

export class PostgresServer implements AsyncDisposable {
  /** Everything of this server; the data are in `data`. */
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

  /** Makes a server and starts it. Servers whose run was killed are ended first. */
  static async create(options: ServerOptions = {}): Promise<PostgresServer> {
    await reapOrphans(options.records);
    const server = new PostgresServer(options);
    server.#note();
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

  /** The pid of its first process, while there is one. */
  get pid(): number | undefined {
    return this.isRunning ? this.#process?.pid : undefined;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && isRunning(this.#process);
  }

  /** How to connect as superuser, which is what tests do. */
  url(database = 'postgres'): string {
    return `postgres://kvent:${this.password}@127.0.0.1:${this.#port}/${encodeURIComponent(database)}`;
  }

  /** Everything that it has said since it was created, over all restarts. */
  log(): Promise<string> {
    return readFile(this.logFile, 'utf8');
  }

  /**
   * More lines of configuration, in force from the next start on; the last word on a setting
   * counts.
   */
  async configure(...lines: readonly string[]): Promise<void> {
    await appendFile(join(this.dataDirectory, 'postgresql.conf'), lines.map((line) => `${line}\n`).join(''));
  }

  /** Starts it on its port, and answers when it takes connections. */
  async start(): Promise<void> {
    const deadline = Date.now() + patienceMs;
    // Somebody's outgoing connection may hold the port for a moment.
    while (!(await this.#launch())) {
      if (Date.now() > deadline) throw new Error(`Port ${this.#port} is taken by somebody else.`);
    }
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    await this.#end(signals[mode]);
  }

  /**
   * `kill -9` for the server and every process of it at once: nothing is written, nobody is told.
   */
  async kill(): Promise<void> {
    if (this.#process === undefined) return;
    send(this.#process, 'SIGSTOP'); // it starts no more processes while they are counted
    const all = [this.#process, ...childrenOf(this.#process.pid)];
    for (const each of all) send(each, 'SIGKILL');
    await this.#gone(all);
  }

  /** Stops it (fast) if it runs, and starts it. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Runs another program of Postgres (`pg_ctl`) as the server's user. */
  async run(program: string, ...args: readonly string[]): Promise<void> {
    const log = openSync(this.logFile, 'a');
    try {
      const child = spawn(join(this.#programs, program), args, {
        ...this.#spawning(),
        stdio: ['ignore', log, log],
      });
      const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
      if (code !== 0) throw new Error(`${program} ended with ${String(code)}:\n${await this.#lastWords()}`);
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
    await this.#own(this.directory);
    await mkdir(this.dataDirectory, { mode: 0o700 });
    await this.#own(this.dataDirectory);
    await writeFile(this.logFile, '');
    if (this.#options.fill === undefined) await this.#initialise();
    else await this.#options.fill(this.dataDirectory);
    await this.configure(...settings, ...(this.#options.config ?? []));
  }

  /**
   * ICU's English order as the default: what relies on the order of bytes has to ask for it, or the
   * test of it fails here already. One round of SCRAM is enough for a password that lives for a
   * minute.
   */
  async #initialise(): Promise<void> {
    const passwordFile = join(this.directory, 'password');
    await writeFile(passwordFile, this.password, { mode: 0o600 });
    await this.#own(passwordFile);
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
    throw new Error(`None of ${bindAttempts} ports that had been free could be had.`);
  }

  /** Answers false if the port is taken. */
  async #launch(): Promise<boolean> {
    const saidBefore = (await this.log()).length;
    this.#spawn();
    this.#note();
    const deadline = Date.now() + patienceMs;
    while (!(await this.#isReady())) {
      if (!this.isRunning) {
        if ((await this.log()).slice(saidBefore).includes('could not bind')) return false;
        throw new Error(`Postgres does not start:\n${await this.#lastWords()}`);
      }
      if (Date.now() > deadline)
        throw new Error(`Postgres is not ready after ${patienceMs} ms:\n${await this.#lastWords()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return true;
  }

  /**
   * In a session of its own: what ends a test run (Ctrl-C, the end of a Jest worker) must not end
   * the server in its own way.
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
      child.on('error', () => undefined); // said below
      child.unref();
      if (child.pid === undefined) throw new Error(`${join(this.#programs, 'postgres')} cannot be started.`);
      this.#process = identify(child.pid);
    } finally {
      closeSync(log);
    }
  }

  /** The server writes into this file how far it is, for `pg_ctl`. */
  async #isReady(): Promise<boolean> {
    const lines = (await readFile(join(this.dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '')).split(
      '\n',
    );
    return lines[0] === String(this.#process?.pid) && lines[7]?.trim() === 'ready';
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#process === undefined) return;
    send(this.#process, signal);
    await this.#gone([this.#process]);
  }

  async #gone(processes: readonly Identity[]): Promise<void> {
    if (await ended(processes, patienceMs)) return;
    throw new Error(
      `Postgres ${processes.map(({ pid }) => pid).join(', ')} does not end:\n${await this.#lastWords()}`,
    );
  }

  #note(): void {
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

  async #own(path: string): Promise<void> {
    if (this.#user !== undefined) await chown(path, this.#user.uid, this.#user.gid);
  }

  async #lastWords(): Promise<string> {
    return (await this.log()).split('\n').slice(-15).join('\n');
  }
}
