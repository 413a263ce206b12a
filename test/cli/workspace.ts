/** A temporary folder for one test of the command, and the rows that its storages hold. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JsonFileProvider, type StorageProvider } from '@kvent/key-value-storage';
import { feedPositionOf, type FeedPosition, type RawRow, type Row } from '@kvent/key-value-storage/provider';
import { KventProcess, type Exit } from './kvent.js';

export const acme = 'tenant:acme';
export const globex = 'tenant:globex';
export const hour = 3_600_000;

/** What a command prints with `--json`. */
export interface CommandReport {
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

export class Workspace implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Workspace> {
    return new Workspace(await mkdtemp(join(tmpdir(), 'kvent-cli-')));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async kvent(...args: readonly string[]): Promise<Exit> {
    return await new KventProcess(args, this.folder).exit;
  }

  /** Runs a command with `--json` and returns its report. Throws if the command fails. */
  async run(...args: readonly string[]): Promise<CommandReport> {
    const { code, stdout, stderr } = await this.kvent(...args, '--json');
    if (code !== 0) throw new Error(`kvent ${args.join(' ')} ended with ${String(code)}: ${stderr}`);
    return JSON.parse(stdout) as CommandReport;
  }

  start(...args: readonly string[]): KventProcess {
    return new KventProcess(args, this.folder);
  }

  /** Creates a directory of JsonFileProvider with these rows. */
  async createStore(name: string, databases: Readonly<Record<string, Iterable<RawRow>>>): Promise<void> {
    await withOpened(
      new JsonFileProvider({ directory: this.path(name), lockTimeoutMs: 0 }),
      async ({ administration }) => {
        for (const [database, rows] of Object.entries(databases)) await administration.import(database, rows);
      },
    );
  }

  /** The rows of a directory, which no process may have open. */
  async rows(name: string): Promise<Readonly<Record<string, readonly RawRow[]>>> {
    return await rowsOf(
      new JsonFileProvider({ directory: this.path(name), create: 'never', lockTimeoutMs: 0 }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** All rows of a provider, which is opened for this. */
export async function rowsOf(
  provider: StorageProvider,
): Promise<Readonly<Record<string, readonly RawRow[]>>> {
  const found: Record<string, RawRow[]> = {};
  await withOpened(provider, async ({ administration }) => {
    for (const database of await administration.databases()) {
      const rows: RawRow[] = [];
      for await (const row of administration.export(database)) rows.push(row);
      found[database] = rows;
    }
  });
  return found;
}

export async function withOpened<R>(
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

export const rawRow = (container: string, entity: string, key: string, row: Partial<Row> = {}): RawRow => ({
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

/** A place in the feed, which a row keeps. */
export const feedPosition = (number: number): FeedPosition => feedPositionOf(2 ** 40, number);

/** One row of each kind, in key order. Those with an expiry expire in a day. */
export function rowsOfEveryKind(): readonly RawRow[] {
  const expiresAt = Date.now() + 24 * hour;
  return [
    rawRow('counter:counter', 'views', 'mug', { value: { kind: 'number', number: 2n ** 63n - 1n } }),
    rawRow('event:order', 'o-1', '1', {
      position: feedPosition(7),
      value: { kind: 'json', text: '{"type":"placed","text":"\\u0000 \\ud800 \u2028 😀"}' },
    }),
    rawRow('event:order', 'o-1', '2', {
      version: '2',
      position: feedPosition(9),
      value: { kind: 'json', text: '{ "b": 1,\n "a": 12345678901234567890 }' },
    }),
    rawRow('fence:order', 'o-1', 'token', { value: { kind: 'number', number: -3n } }),
    rawRow('head:order', '', 'o-1', { value: { kind: 'number', number: 2n } }),
    rawRow('head:order', '', 'o-2', {
      value: { kind: 'json', text: '{"version":5,"session":"s","commit":"c"}' },
    }),
    rawRow('mark:order', 'o-1', 'once', { expiresAt, ttlMs: 25 * hour }),
    rawRow('snapshot:order', 'o-1', '1'),
    rawRow('state:state', 'image', 'logo', { value: { kind: 'bytes', bytes: Uint8Array.of(0, 255, 10) } }),
    rawRow('state:state', 'product', 'mug', { expiresAt: expiresAt + 1, ttlMs: 48 * hour }),
    rawRow('state:state', 'product', 'tea', { version: '1', updatedAt: 1 }),
  ];
}
export const leaseRow = (): RawRow =>
  rawRow('lease:order', 'o-2', 'lease', { expiresAt: Date.now() + hour, ttlMs: hour });

export function* manyRows(count = 8_000): Generator<RawRow> {
  for (let index = 0; index < count; index += 1)
    yield rawRow('state:state', 'product', String(index).padStart(6, '0'), {
      value: { kind: 'json', text: `{"title":"Mug ${index}"}` },
    });
}

/**
 * Runs a command and interrupts it (`attempt`) while it works. On a busy machine the interruption
 * may come too late: an attempt that ended before it is repeated with twice as many rows.
 */
export async function interruptMidway(
  attempt: (rows: number) => Promise<Exit>,
): Promise<{ readonly ended: Exit; readonly rows: number }> {
  for (let rows = 8_000; ; rows *= 2) {
    const ended = await attempt(rows);
    if (ended.code !== 0 && ended.stdout === '') return { ended, rows };
    if (rows > 1_000_000) throw new Error(`The command copies ${rows} rows before it can be ended.`);
  }
}

export const lines = (text: string): readonly string[] => text.trimEnd().split('\n');
