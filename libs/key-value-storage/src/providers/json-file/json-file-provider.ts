/**
 * Rows in readable files in one directory, for development and for applications of one process.
 * Acknowledged writes are on disk: they survive `kill -9` and power loss. Network file systems are
 * not supported.
 */
import { resolve } from 'node:path';
import { throwIfAborted } from '../../core/base/abort.js';
import { systemClock, type Clock } from '../../core/base/clock.js';
import { storageError } from '../../core/base/errors.js';
import { inspect } from '../../core/base/inspect.js';
import { isError, messageOf } from '../../core/base/kinds.js';
import { looksLikeAddress } from '../../core/base/hide-passwords.js';
import { assertOptions, invalidOption, invalidState, resolveOptions } from '../../core/base/options.js';
import { PendingWork } from '../../core/base/pending-work.js';
import { safely } from '../../core/base/safely.js';
import { SerialQueue } from '../../core/base/serial-queue.js';
import type {
  Address,
  Batch,
  CommitResult,
  CountRange,
  FeedPage,
  FeedRequest,
  Hint,
  HintTarget,
  ProviderFeatures,
  ProviderReadOptions,
  ReadResult,
  ScanPage,
  ScanRange,
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
  /** The directory of the data. It is created if needed, and used by one process at a time. */
  readonly directory: string;
  /**
   * How long `open` waits for another process to release the store: hot reload. An owner that may
   * have ended with its machine or container gets up to 3 s for a heartbeat in any case. @default
   * 5_000
   */
  readonly lockTimeoutMs?: number;
  /** The source of time. @default the system's */
  readonly clock?: Clock;
  /**
   * `never`: `open` fails if there is no store, so that an unmounted disk does not become an empty
   * store. @default 'if-missing'
   */
  readonly create?: 'if-missing' | 'never';
  /**
   * Changes nothing but the lock: nothing is recovered, removed or swept, and writes are
   * `STORAGE_UNSUPPORTED`. For sources of copies and backups. @default false
   */
  readonly readOnly?: boolean;
  /** Permissions of new directories, before the umask. Must include 0o700. @default 0o700 */
  readonly directoryMode?: number;
  /** Permissions of new files, before the umask. Must include 0o600. @default 0o600 */
  readonly fileMode?: number;
  /** When journals are merged into a new snapshot, in the background. */
  readonly compaction?: Partial<CompactionOptions>;
  /**
   * The maximum number of open journals, one descriptor each; a compaction needs two more. If more
   * databases are written to, the journal that was used longest ago is closed until its next write.
   * @default 100
   */
  readonly openJournalsMax?: number;
  /**
   * Called for data that was cut off and for failures in the background. Exceptions in it are
   * ignored. @default `process.emitWarning`
   */
  readonly warn?: (message: string) => void;
  /** The file system. @default this machine's */
  readonly fileSystem?: FileSystem;
  /** Identifies processes that hold a lock. @default this machine's */
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
    // each database has a group commit of its own
    coalesce: false,
    expiry: 'exact',
    scan: 'ordered',
    clock: 'replaceable',
    feed: true,
  };
  readonly administration: StorageAdministration = {
    databases: async () => await this.#opened().databases(),
    spaces: async (database) => await this.#opened().spaces(database),
    export: (database, part) => this.#opened().export(database, part),
    import: async (database, rows) => await this.#pending.track(this.#opened().import(database, rows)),
    drop: async (database) => await this.#pending.track(this.#opened().drop(database)),
    compact: async () => await this.#pending.track(this.#opened().compact()),
  };
  readonly clock: Clock | undefined;
  readonly #options: Resolved;
  readonly #pending = new PendingWork();
  readonly #lifecycle = new SerialQueue();
  #state: 'closed' | 'opening' | 'open' | 'closing' = 'closed';
  #store: FileStore | undefined;
  /** The id of the store that was opened first: another one at this path is another disk. */
  #id: string | undefined;

  constructor(options: JsonFileProviderOptions) {
    this.#options = resolveProviderOptions(options);
    this.clock = options.clock;
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

  async count(
    range: CountRange,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    throwIfAborted('A count', options.signal);
    return await this.#opened().count(range);
  }

  /** Not async: a promise less. */
  commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    try {
      throwIfAborted('A commit', options.signal);
      return this.#opened().commit(batches, options.signal);
    } catch (error) {
      return Promise.reject(isError(error) ? error : new Error(messageOf(error)));
    }
  }

  hints(targets: readonly HintTarget[], signal: AbortSignal): AsyncIterable<Hint> {
    return this.#opened().hints.listen(targets, signal);
  }

  async feed(request: FeedRequest): Promise<FeedPage> {
    throwIfAborted('A read of the feed', request.signal);
    return await this.#opened().feed(request);
  }

  async sweep(limit: number): Promise<number> {
    return await this.#pending.track(this.#opened().sweep(limit));
  }

  /** The number of databases in memory: those with a directory, and those with calls in flight. */
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
    throw invalidOption(
      `JsonFileProvider: directory must be the path of a directory; got ${inspect(given.directory)}.`,
    );
  // it may contain a password, so the message does not repeat it
  if (looksLikeAddress(given.directory))
    throw invalidOption(
      'JsonFileProvider: directory must be the path of a directory, without quotes or blanks at its ends; got what looks like the address of a database.',
    );
  assertNumber('lockTimeoutMs', given.lockTimeoutMs);
  const { warn } = given;
  if (typeof warn !== 'function')
    throw invalidOption(
      `JsonFileProvider: warn must be a function that takes a message; got ${inspect(warn)}.`,
    );
  const resolved = {
    ...given,
    // it is called while the store is locked, and from work in the background
    warn: (message: string) => void safely(() => warn(message)),
    processes,
    compaction: { ...compactionDefaults, ...compaction },
  };
  assertNumber('compaction.ratio', resolved.compaction.ratio);
  assertNumber('compaction.minimumBytes', resolved.compaction.minimumBytes);
  if (!Number.isInteger(given.openJournalsMax) || given.openJournalsMax < 1)
    throw invalidOption(
      `JsonFileProvider: openJournalsMax must be a whole number from 1; got ${inspect(given.openJournalsMax)}.`,
    );
  assertMode('directoryMode', given.directoryMode, 0o700);
  assertMode('fileMode', given.fileMode, 0o600);
  if (typeof given.readOnly !== 'boolean')
    throw invalidOption(`JsonFileProvider: readOnly must be true or false; got ${inspect(given.readOnly)}.`);
  if (!['if-missing', 'never'].includes(given.create))
    throw invalidOption(
      `JsonFileProvider: create must be 'if-missing' or 'never'; got ${String(given.create)}.`,
    );
  return resolved;
}

function assertNumber(name: string, value: unknown): void {
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return;
  throw invalidOption(`JsonFileProvider: ${name} must be a number of at least 0; got ${String(value)}.`);
}

/** `least`: the permissions that the owner needs. */
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
    `JsonFileProvider: ${name} must include 0o${least.toString(8)} and be at most 0o777; got ${given}.`,
  );
}
