/** What bulk writes take and return. */
import type { StorageError } from '../base/errors.js';
import type { Key, KeyRange } from '../base/key.js';
import type { CallOptions } from './call-options.js';

/** An entry to load. `ttlMs`: over that of the call. */
export interface LoadItem<K extends Key = Key, I = unknown> {
  readonly key: K;
  readonly value: I;
  readonly ttlMs?: number | 'keep' | 'never' | undefined;
}

export interface LoadProgress {
  /** Items that are stored. */
  readonly loaded: number;
  /** Items that were refused. */
  readonly failed: number;
}

/** An item that was refused. `index`: its number in the source, from 0. */
export interface LoadFailure {
  readonly index: number;
  readonly key: unknown;
  readonly error: StorageError;
}

export interface LoadResult extends LoadProgress {
  /** The first 100 items that were refused, in the order of the source; `onFailure` gets all. */
  readonly failures: readonly LoadFailure[];
}

/** Options of `loadFrom`. */
export interface LoadFromOptions extends CallOptions {
  /** As of `set`, for items without their own. */
  readonly ttlMs?: number | 'keep' | 'never' | undefined;
  /**
   * What follows an item that is refused (`INVALID_VALUE`, `INVALID_KEY`, `LIMIT_EXCEEDED`,
   * `UNIQUE_TAKEN`): the end of the load with its error, or the next item. Other errors end the
   * load. @default 'stop'
   */
  readonly onError?: 'stop' | 'continue' | undefined;
  /**
   * For `onError: 'continue'`: called for every item that is refused, one after the other in the
   * order of the source, once the items before it are stored or refused. The load waits for it.
   * What it throws ends the load, as an error of the source does: of the items behind, those of
   * commits in flight may be stored. It is not called any more once the load has ended.
   */
  readonly onFailure?: ((failure: LoadFailure) => void | Promise<void>) | undefined;
  /** Called after each commit, also one that refused an item. Exceptions in it are ignored. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /**
   * Items of one commit at most, up to 900, less with indexes. A commit closes at 2 MB too.
   * @default 900
   */
  readonly chunk?: number | undefined;
  /** Commits in flight at most, up to 16; the source is read no faster. @default 4 */
  readonly concurrency?: number | undefined;
}

/** A range of keys without a direction. */
export type ExportRange<K extends Key = Key> = Omit<KeyRange<K>, 'reverse'>;
