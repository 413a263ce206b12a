/** What the databases of a store share, and what compaction needs of one database. */
import type { SteadyTime, StoredTime } from '../../../core/base/clock.js';
import type { HintSource } from '../../../core/providers/hint-source.js';
import type { FileSystem } from '../disk/file-system.js';
import type { FrozenView } from '../../../core/providers/frozen-view.js';
import type { SpareBuffer } from '../format/commit-lines.js';
import type { JournalFile } from './journal-file.js';
import type { OpenJournals } from './open-journals.js';
import type { StoreFeed } from './store-feed.js';

export interface CompactionOptions {
  /**
   * Compacts when the rows that were replaced or deleted take this many times as many bytes in the
   * files as the others… @default 1
   */
  readonly ratio: number;
  /** …and the journals are at least this long. @default 8 MiB */
  readonly minimumBytes: number;
}

export interface StoreContext {
  readonly fileSystem: FileSystem;
  readonly root: string;
  readonly time: SteadyTime;
  readonly hints: HintSource;
  readonly feed: StoreFeed;
  readonly compaction: CompactionOptions;
  readonly journals: OpenJournals;
  /** For the lines of a group. */
  readonly spareBuffer: SpareBuffer;
  /** Called when a database has nothing left to do. */
  readonly onIdle: (database: string) => void;
  /** Whether everything that would change a row is refused. */
  readonly readOnly: boolean;
  /** Rejects when another process owns the store by now. */
  readonly verifyOwner: () => Promise<void>;
  readonly warn: (message: string) => void;
}

/** A database as compaction uses it. */
export interface CompactionTarget {
  readonly name: string;
  readonly directory: string;
  readonly context: Pick<StoreContext, 'fileSystem' | 'verifyOwner'>;
  /** The number of the last commit that is on disk. */
  readonly onDisk: number;
  /**
   * Sends the commits from the next group on to this journal. The commits before it are on disk
   * then, and the rows contain them.
   */
  switchTo(journal: JournalFile): Promise<GenerationStart>;
}

/** The moment at which a generation begins. */
export interface GenerationStart {
  readonly view: FrozenView;
  /** The number of the last commit before it. */
  readonly upTo: number;
  readonly time: StoredTime;
}
