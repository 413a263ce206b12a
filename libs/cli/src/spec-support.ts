/** A folder with storages of a spec, and calls of the command in this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineState, JsonFileProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { Output, type OutputStream } from './output/output.js';
import { passwordHider } from './output/secrets.js';
import { run } from './run.js';

/** A module for `kvent reindex`: this file. */
export const Slots = defineState<{ readonly doctor: string }, string>('slot', {
  indexes: { byDoctor: (slot) => slot.doctor },
});

/** The output of a process. `closed`: its reader has gone. */
class Stream implements OutputStream {
  written = '';
  closed = false;
  #listener: (error: NodeJS.ErrnoException) => void = () => undefined;

  write(text: string, done?: (error?: Error | null) => void): void {
    const error = this.closed ? Object.assign(new Error('EPIPE'), { code: 'EPIPE' }) : undefined;
    if (error === undefined) this.written += text;
    else this.#listener(error);
    done?.(error);
  }

  on(_event: 'error', listener: (error: NodeJS.ErrnoException) => void): void {
    this.#listener = listener;
  }
}

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
  const hider = passwordHider(args, { PGPASSWORD: 'f1om-the-environment' });
  const { exitCode } = await run(args, new Output(out, err, hider));
  return { exitCode, stdout: out.written, stderr: err.written };
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
    await provider.administration.import(database, rows).finally(() => provider.close());
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { recursive: true });
  }
}
