/** A folder with storages of a spec, and calls of the command in this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineState, JsonFileProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { Output, type OutputStream } from './output/output.js';
import { passwordHider } from './output/secrets.js';
import { run } from './run.js';

/** A module for `kvent reindex`: this file. */
export const Slots = defineState<{ readonly doctor: string }, string>('slot', {
  indexes: { byDoctor: (slot) => slot.doctor },
});

export const Logins = defineState<number>('login', { ttlMs: 60_000, expiry: 'sliding' });

/** A module for `kvent migrate`: this file. */
export const Prices = defineState<{ readonly cents: number }>('price', {
  schemaVersion: 2,
  upcast: { 1: ({ cents }: { readonly cents: string }) => ({ cents: Number(cents) }) },
});

interface Title {
  readonly title: string;
}
const titleSchema: StandardSchemaV1<Title> = {
  '~standard': {
    version: 1,
    vendor: 'spec',
    validate: (given) => {
      const { title } = given as { readonly title: unknown };
      return typeof title === 'string'
        ? { value: { title: title.trim() } }
        : { issues: [{ message: 'title must be a text' }] };
    },
  },
};

/** A module for `kvent import`: this file. */
export const Titles = defineState('title', {
  schema: titleSchema,
  schemaVersion: 3,
  upcast: { 1: (title: Title) => title, 2: (title: Title) => title },
  indexes: { byTitle: { key: ({ title }: Title) => title, unique: true } },
});

/** The output of a process. `closed`: its reader has gone. */
export class Stream implements OutputStream {
  written = '';
  closed = false;
  #listener: (error: NodeJS.ErrnoException) => void = () => undefined;
  #onWrite: () => void = () => undefined;

  write(text: string, done?: (error?: Error | null) => void): void {
    const error = this.closed ? brokenPipe() : undefined;
    if (error === undefined) this.written += text;
    else this.#listener(error);
    done?.(error);
    this.#onWrite();
  }

  close(): void {
    this.closed = true;
    this.#listener(brokenPipe());
  }

  async waitFor(text: string): Promise<void> {
    while (!this.written.includes(text)) await new Promise<void>((resolve) => (this.#onWrite = resolve));
  }

  on(_event: 'error', listener: (error: NodeJS.ErrnoException) => void): void {
    this.#listener = listener;
  }
}

const brokenPipe = (): Error => Object.assign(new Error('EPIPE'), { code: 'EPIPE' });

interface Called {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function kvent(
  args: readonly string[],
  closed: { readonly out?: boolean; readonly err?: boolean } = {},
): Promise<Called> {
  const [out, err] = [new Stream(), new Stream()];
  out.closed = closed.out ?? false;
  err.closed = closed.err ?? false;
  return await call(args, out, err);
}

async function call(args: readonly string[], out: Stream, err: Stream): Promise<Called> {
  const hider = passwordHider(args, { PGPASSWORD: 'f1om-the-environment' });
  const { exitCode } = await run(args, new Output(out, err, hider));
  return { exitCode, stdout: out.written, stderr: err.written };
}

/** A call that runs until `end`, which closes its stderr. */
export class EndlessCall implements AsyncDisposable {
  readonly #out = new Stream();
  readonly #err = new Stream();
  readonly #called: Promise<Called>;

  constructor(...args: readonly string[]) {
    this.#called = call(args, this.#out, this.#err);
  }

  /** Rejects if the call ends before it prints this text. */
  async waitForStdout(text: string): Promise<void> {
    const ended = this.#called.then((called) => {
      throw new Error(`The call ended without printing '${text}': ${JSON.stringify(called)}`);
    });
    await Promise.race([this.#out.waitFor(text), ended]);
  }

  async end(): Promise<Called> {
    this.#err.close();
    return await this.#called;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** The JSON that a call prints; fails if the call does. */
export async function kventJson(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { exitCode, stdout, stderr } = await kvent([...args, '--json']);
  if (exitCode !== 0) throw new Error(`kvent ${args.join(' ')} ended with ${exitCode}: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

export class Folder implements Disposable {
  readonly #path = mkdtempSync(join(tmpdir(), 'kvent-cli-spec-'));

  path(name: string): string {
    return join(this.#path, name);
  }

  /** The directory `data` as a storage of the tenant `acme`, closed again after the work. */
  async store(
    work: (storage: KeyValueStorage) => Promise<unknown>,
    tenant = 'acme',
    name = 'data',
  ): Promise<void> {
    await using storage = await openStorage(
      new JsonFileProvider({ directory: this.path(name), lockTimeoutMs: 0 }),
      { tenant },
    );
    await work(storage);
  }

  async import(database: string, rows: Iterable<RawRow>, name = 'data'): Promise<void> {
    const provider = new JsonFileProvider({ directory: this.path(name), lockTimeoutMs: 0 });
    await provider.open();
    try {
      await provider.administration.import(database, rows);
    } finally {
      await provider.close();
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { recursive: true });
  }
}
