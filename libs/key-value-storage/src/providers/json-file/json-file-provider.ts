/**
 * Rows in readable files below one directory: the embedded default, for development and for one
 * process. What was acknowledged is on disk: it survives `kill -9` and the loss of power. Network
 * file systems are not supported.
 */
import { resolve } from 'node:path';
import { throwIfAborted } from '../../core/base/abort.js';
import { systemClock, type Clock } from '../../core/base/clock.js';
import { storageError } from '../../core/base/errors.js';
import { inspect } from '../../core/base/inspect.js';
import { looksLikeAddress } from '../../core/base/hide-passwords.js';
import { assertOptions, invalidOption, invalidState, resolveOptions } from '../../core/base/options.js';
import { PendingWork } from '../../core/base/pending-work.js';
import { SerialQueue } from '../../core/base/serial-queue.js';
import type {
  Address,
  Batch,
  CommitResult,
  Hint,
  ProviderFeatures,
  ProviderReadOptions,
  ReadResult,
  ScanPage,
  ScanRange,
  Space,
  StorageAdministration,
  StorageProvider,
} from '../../core/port/storage-provider.js';
import type { CompactionOptions } from './database/store-context.js';
import type { FileStore } from './file-store.js';
import { withModes, type FileSystem } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { openStore } from './open-store.js';
import { systemProcesses, type Processes } from './lock/process-identity.js';

export interface JsonFileProviderOptions {
  /** Where the data lives. It is made if it is not there, and belongs to one process at a time. */
  readonly directory: string;
  /** How long `open` waits for another process to let go: hot reload. @default 5_000 */
  readonly lockTimeoutMs?: number;
  /** The time it runs on. @default the system's */
  readonly clock?: Clock;
  /**
   * `never`: `open` fails where there is no store yet, so that a disk that is not mounted is no
   * empty store. @default 'if-missing'
   */
  readonly create?: 'if-missing' | 'never';
  /**
   * Opens what is there and changes nothing but the lock: nothing is recovered, cleared away or
   * swept, and what would change a row is `STORAGE_UNSUPPORTED`. For sources of copies and backups.
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * Permissions of directories that are made, less what the umask takes away. The owner needs all
   * three. @default 0o700
   */
  readonly directoryMode?: number;
  /**
   * Permissions of files that are made, less what the umask takes away. The owner needs to read and
   * write. @default 0o600
   */
  readonly fileMode?: number;
  /** When journals are gathered into a new snapshot, in the background. */
  readonly compaction?: Partial<CompactionOptions>;
  /**
   * Journals that are open at the same time, each a descriptor; while a database is compacted, two
   * more. Where more databases are written to, the one that was used longest ago is closed, and
   * opened again when it is needed. @default 100
   */
  readonly openJournalsMax?: number;
  /**
   * Hears what was cut off or could not be done in the background. @default `process.emitWarning`
   */
  readonly warn?: (message: string) => void;
  /** The disk. @default this machine's */
  readonly fileSystem?: FileSystem;
  /** The processes of the machine: who holds a lock. @default this machine's */
  readonly processes?: Processes;
}

const defaults = {
  lockTimeoutMs: 5_000,
  clock: systemClock,
  create: 'if-missing' as const,
  readOnly: false,
  directoryMode: 0o700,
  fileMode: 0o600,
  compaction: {},
  openJournalsMax: 100,
  warn: (message: string): void =>
    process.emitWarning(message, { type: 'JsonFileWarning', code: 'KVENT_JSON_FILE' }),
  fileSystem: nodeFileSystem,
};
const compactionDefaults: CompactionOptions = { ratio: 1, minimumBytes: 8 * 1_024 * 1_024 };

type Resolved = Required<Omit<JsonFileProviderOptions, 'compaction' | 'processes'>> & {
  readonly compaction: CompactionOptions;
  readonly processes: Processes | undefined;
};

export class JsonFileProvider implements StorageProvider {
  readonly name: string;
  readonly features: ProviderFeatures = {
    durable: 'fsync',
    shared: false,
    staleReads: false,
    // it gathers by itself
    coalesce: false,
    expiry: 'exact',
    scan: 'ordered',
    clock: 'replaceable',
  };
  readonly administration: StorageAdministration = {
    databases: async () => await this.#opened().databases(),
    spaces: async (database) => await this.#opened().spaces(database),
    export: (database) => this.#opened().export(database),
    import: async (database, rows) => await this.#pending.track(this.#opened().import(database, rows)),
    drop: async (database) => await this.#pending.track(this.#opened().drop(database)),
  };
  readonly #options: Resolved;
  readonly #pending = new PendingWork();
  readonly #lifecycle = new SerialQueue();
  #state: 'closed' | 'opening' | 'open' | 'closing' = 'closed';
  #store: FileStore | undefined;
  /** The store that was opened first: another one at the same path is another disk. */
  #id: string | undefined;

  constructor(options: JsonFileProviderOptions) {
    this.#options = resolveProviderOptions(options);
    this.name = `JSON file ${options.directory}`;
  }

  async open(): Promise<void> {
    if (this.#state === 'opening' || this.#state === 'open') {
      throw invalidState(`The ${this.name} is already open; give each storage a provider of its own.`);
    }
    this.#state = 'opening';
    try {
      await this.#lifecycle.run(() => this.#open());
    } catch (error) {
      this.#state = 'closed';
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { directory, processes = systemProcesses(), ...options } = this.#options;
    const fileSystem = withModes(options.fileSystem, options);
    const { store, id } = await openStore({
      ...options,
      fileSystem,
      processes,
      root: resolve(directory),
      expectedId: this.#id,
    });
    this.#id = id;
    this.#store = store;
    this.#state = 'open';
  }

  async close(): Promise<void> {
    if (this.#state === 'opening') await this.#lifecycle.settled();
    const store = this.#store;
    if (store === undefined) return await this.#lifecycle.settled();
    this.#store = undefined;
    this.#state = 'closing';
    await this.#lifecycle.run(() => this.#close(store));
  }

  async #close(store: FileStore): Promise<void> {
    store.hints.end();
    await this.#pending.settled();
    await store.close();
    this.#state = this.#state === 'closing' ? 'closed' : this.#state;
  }

  async read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    throwIfAborted('A read', options.signal);
    return await this.#opened().read(addresses, options.values === 'omit');
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    throwIfAborted('A scan', options.signal);
    return await this.#opened().scan(ranges);
  }

  async commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    return await this.#pending.track(this.#opened().commit(batches, options.signal));
  }

  hints(spaces: readonly Space[], signal: AbortSignal): AsyncIterable<Hint> {
    return this.#opened().hints.listen(spaces, signal);
  }

  async sweep(limit: number): Promise<number> {
    return await this.#pending.track(this.#opened().sweep(limit));
  }

  /**
   * How many databases it keeps something of in memory: those that hold or held a row, and those
   * that are being asked.
   */
  get databasesKnown(): number {
    return this.#opened().size;
  }

  #opened(): FileStore {
    if (this.#store === undefined)
      throw storageError('STORAGE_NOT_OPEN', `The ${this.name} is not open.`, {});
    return this.#store;
  }
}

function resolveProviderOptions(options: JsonFileProviderOptions): Resolved {
  const { compaction, processes, ...given } = resolveOptions('JsonFileProvider', options, defaults, [
    'directory',
    'processes',
  ]);
  assertOptions('compaction of JsonFileProvider', compaction, Object.keys(compactionDefaults));
  if (typeof given.directory !== 'string' || given.directory === '')
    throw invalidOption('JsonFileProvider: directory is the path of a directory.');
  // what was given may hold a password: it is not repeated
  if (looksLikeAddress(given.directory))
    throw invalidOption(
      'JsonFileProvider: directory is the path of a directory, without quotes or blanks at its ends; what was given looks like the address of a database.',
    );
  assertNumber('lockTimeoutMs', given.lockTimeoutMs);
  const resolved = { ...given, processes, compaction: { ...compactionDefaults, ...compaction } };
  assertNumber('compaction.ratio', resolved.compaction.ratio);
  assertNumber('compaction.minimumBytes', resolved.compaction.minimumBytes);
  if (!Number.isInteger(given.openJournalsMax) || given.openJournalsMax < 1)
    throw invalidOption(
      `JsonFileProvider: openJournalsMax is a whole number from 1; given was ${inspect(given.openJournalsMax)}.`,
    );
  assertMode('directoryMode', given.directoryMode, 0o700);
  assertMode('fileMode', given.fileMode, 0o600);
  if (typeof given.readOnly !== 'boolean')
    throw invalidOption(`JsonFileProvider: readOnly is true or false; given was ${inspect(given.readOnly)}.`);
  if (!['if-missing', 'never'].includes(given.create))
    throw invalidOption(
      `JsonFileProvider: create is 'if-missing' or 'never'; given was ${String(given.create)}.`,
    );
  return resolved;
}

function assertNumber(name: string, value: unknown): void {
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return;
  throw invalidOption(`JsonFileProvider: ${name} is a number from 0 up; given was ${String(value)}.`);
}

/** `least`: what the owner cannot do without. */
function assertMode(name: string, value: unknown, least: number): void {
  if (
    typeof value === 'number' &&
    Number.isInteger(value) &&
    value >= 0 &&
    value <= 0o777 &&
    (value & least) === least
  )
    return;
  const given = typeof value === 'number' ? `0o${value.toString(8)}` : inspect(value);
  throw invalidOption(
    `JsonFileProvider: ${name} is a mode that gives the owner 0o${least.toString(8)}, 0o777 at most; given was ${given}.`,
  );
}
