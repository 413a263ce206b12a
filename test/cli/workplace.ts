/** A folder of its own for each test, and what stands in the storages below it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JsonFileProvider, type StorageProvider } from '@kvent/key-value-storage';
import type { RawRow, Row } from '@kvent/key-value-storage/provider';
import { KventProcess, type Ended } from './kvent.js';

export const acme = 'tenant:acme';
export const globex = 'tenant:globex';
export const hour = 3_600_000;

/** What a command says with `--json`. */
export interface Told {
  readonly command: string;
  readonly from: string;
  readonly to: string;
  readonly rows: number;
  readonly sha256: string;
  readonly seconds: number;
  readonly databases: readonly {
    readonly database: string;
    readonly outcome: string;
    readonly rows: number;
    readonly sha256: string;
    readonly leases: number;
  }[];
}

export class Workplace implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Workplace> {
    return new Workplace(await mkdtemp(join(tmpdir(), 'kvent-cli-')));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async kvent(...args: readonly string[]): Promise<Ended> {
    return await new KventProcess(args, this.folder).ended;
  }

  /** Fails where the command did. */
  async told(...args: readonly string[]): Promise<Told> {
    const { code, stdout, stderr } = await this.kvent(...args, '--json');
    if (code !== 0) throw new Error(`kvent ${args.join(' ')} ended with ${String(code)}: ${stderr}`);
    return JSON.parse(stdout) as Told;
  }

  start(...args: readonly string[]): KventProcess {
    return new KventProcess(args, this.folder);
  }

  /** A directory of JsonFileProvider with these rows. */
  async store(name: string, databases: Readonly<Record<string, Iterable<RawRow>>>): Promise<void> {
    await opened(
      new JsonFileProvider({ directory: this.path(name), lockTimeoutMs: 0 }),
      async ({ administration }) => {
        for (const [database, rows] of Object.entries(databases)) await administration.import(database, rows);
      },
    );
  }

  /** What a directory holds. It must be free. */
  async rows(name: string): Promise<Readonly<Record<string, readonly RawRow[]>>> {
    return await rowsOf(
      new JsonFileProvider({ directory: this.path(name), create: 'never', lockTimeoutMs: 0 }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Everything that a provider holds; it is opened for that. */
export async function rowsOf(
  provider: StorageProvider,
): Promise<Readonly<Record<string, readonly RawRow[]>>> {
  const found: Record<string, RawRow[]> = {};
  await opened(provider, async ({ administration }) => {
    for (const database of await administration.databases()) {
      const rows: RawRow[] = [];
      for await (const row of administration.export(database)) rows.push(row);
      found[database] = rows;
    }
  });
  return found;
}

export async function opened<R>(
  provider: StorageProvider,
  work: (provider: StorageProvider) => Promise<R>,
): Promise<R> {
  await provider.open();
  try {
    return await work(provider);
  } finally {
    await provider.close();
  }
}

export const raw = (container: string, entity: string, key: string, row: Partial<Row> = {}): RawRow => ({
  container,
  entity,
  key,
  row: {
    version: '4611686018427387905',
    value: { kind: 'json', text: '{"a":1.0}' },
    updatedAt: 1_763_694_000_123,
    ...row,
  },
});

/** A row of each kind that there is, in order: what expires, does so in a day. */
export function everyKind(): readonly RawRow[] {
  const expiresAt = Date.now() + 24 * hour;
  return [
    raw('counter:counter', 'views', 'mug', { value: { kind: 'number', number: 2n ** 63n - 1n } }),
    raw('event:order', 'o-1', '1', {
      value: { kind: 'json', text: '{"type":"placed","text":"\\u0000 \\ud800 \u2028 😀"}' },
    }),
    raw('event:order', 'o-1', '2', {
      version: '2',
      value: { kind: 'json', text: '{ "b": 1,\n "a": 12345678901234567890 }' },
    }),
    raw('fence:order', 'o-1', 'token', { value: { kind: 'number', number: -3n } }),
    raw('head:order', '', 'o-1', { value: { kind: 'number', number: 2n } }),
    raw('head:order', '', 'o-2', {
      value: { kind: 'json', text: '{"version":5,"session":"s","commit":"c"}' },
    }),
    raw('mark:order', 'o-1', 'once', { expiresAt, ttlMs: 25 * hour }),
    raw('snapshot:order', 'o-1', '1'),
    raw('state:state', 'image', 'logo', { value: { kind: 'bytes', bytes: Uint8Array.of(0, 255, 10) } }),
    raw('state:state', 'product', 'mug', { expiresAt: expiresAt + 1, ttlMs: 48 * hour }),
    raw('state:state', 'product', 'tea', { version: '1', updatedAt: 1 }),
  ];
}
export const lease = (): RawRow =>
  raw('lease:order', 'o-2', 'lease', { expiresAt: Date.now() + hour, ttlMs: hour });

export function* many(count = 8_000): Generator<RawRow> {
  for (let index = 0; index < count; index += 1)
    yield raw('state:state', 'product', String(index).padStart(6, '0'), {
      value: { kind: 'json', text: `{"title":"Mug ${index}"}` },
    });
}

/**
 * Runs a command on so many rows that it is in the middle of them when `end` ends it, which may be
 * late on a busy machine: a command that was done by then is run again, with twice as many rows.
 */
export async function endInTheMiddle(
  attempt: (rows: number) => Promise<Ended>,
): Promise<{ readonly ended: Ended; readonly rows: number }> {
  for (let rows = 8_000; ; rows *= 2) {
    const ended = await attempt(rows);
    if (ended.code !== 0 && ended.stdout === '') return { ended, rows };
    if (rows > 1_000_000) throw new Error(`The command copies ${rows} rows before it can be ended.`);
  }
}

export const lines = (text: string): readonly string[] => text.trimEnd().split('\n');
