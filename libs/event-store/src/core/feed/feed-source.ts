/**
 * What a selection of the feed means: the provider, the databases and the containers that are read,
 * and the stream type of each row. Nothing crosses tenants unless the caller asks for it.
 */
import type { KeyValueStorage } from '@kvent/key-value-storage/core';
import {
  invalidOption,
  isFeedPosition,
  type FeedPage,
  type FeedPosition,
} from '@kvent/key-value-storage/provider';
import {
  databaseOf,
  inspect,
  locate,
  sharedDatabase,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import { streamDefinitionOf, type AnyStream, type ResolvedStream } from '../definition/stream-definition.js';
import type { FeedSelection } from './event-feed.js';

/** Which rows of a container belong to a stream type. */
export interface FeedContainer {
  readonly definition: ResolvedStream;
  readonly kind: 'event' | 'head';
  isOf(database: string): boolean;
}

export class FeedSource {
  readonly access: StorageAccess;
  readonly containers: ReadonlyMap<string, FeedContainer>;
  /** `undefined`: all. */
  readonly #databases: readonly string[] | undefined;

  /**
   * The tenant is determined here, once: later pages keep it. `INVALID_OPTION`, `TENANT_MISSING`,
   * `STORAGE_UNSUPPORTED`.
   */
  constructor(owner: string, storage: KeyValueStorage, selection: FeedSelection<AnyStream, boolean>) {
    const { streams, tenants, deletions = false, after } = selection;
    assertPosition(owner, after);
    if (!Array.isArray(streams) || streams.length === 0)
      throw invalidOption(
        `${owner}: streams must be an array with at least one stream definition; got ${inspect(streams)}.`,
      );
    if (typeof deletions !== 'boolean')
      throw invalidOption(`${owner}: deletions must be true or false; got ${inspect(deletions)}.`);
    const databases = databasesOf(owner, tenants);
    const containers = new Map<string, FeedContainer>();
    const current = new Set<string>(databases);
    let access: StorageAccess | undefined;
    for (const stream of streams as readonly AnyStream[]) {
      const definition = streamDefinitionOf(stream);
      const { type, scope, provider } = definition;
      if (!definition.feed)
        throw invalidOption(`${owner}: the stream '${type}' is not in the feed: it has \`feed: false\`.`);
      const location = locate(storage, { what: `stream '${type}'`, scope, provider });
      if (access !== undefined && access.root !== location.access.root)
        throw invalidOption(
          `${owner}: all streams of one call must be on one provider, because positions of two providers have no order; the stream '${type}' is on another.`,
        );
      access = location.access.root;
      const own = tenants === undefined || scope === 'shared' ? location.database() : undefined;
      if (own !== undefined) current.add(own);
      const isOf = (database: string): boolean =>
        own === undefined ? isAsked(database, scope, databases) : database === own;
      containers.set(definition.containers.event, { definition, kind: 'event', isOf });
      if (deletions) containers.set(definition.containers.head, { definition, kind: 'head', isOf });
    }
    this.access = access as StorageAccess;
    this.access.assertFeed();
    this.containers = containers;
    this.#databases = tenants === 'all' ? undefined : [...current];
  }

  /** `databases`: only these of the selection. */
  async page(
    after: FeedPosition | undefined,
    limit: number,
    signal: AbortSignal | undefined,
    databases = this.#databases,
  ): Promise<FeedPage> {
    const containers = [...this.containers.keys()];
    return await this.access.feed({ after, limit, databases, containers, signal });
  }

  /** Where it ends for readers: nothing that is committed later stands before it. */
  async end(signal: AbortSignal | undefined): Promise<FeedPosition> {
    return (await this.page(undefined, 0, signal)).next;
  }

  /** Not before the last committed event, also where readers do not get it yet. */
  async lastCommitted(signal: AbortSignal | undefined): Promise<FeedPosition> {
    const { next, heldBackTo = next } = await this.page(undefined, 0, signal);
    return heldBackTo;
  }
}

/** The databases of the named tenants; `undefined` for the current tenant and for all of them. */
function databasesOf(owner: string, tenants: unknown): readonly string[] | undefined {
  if (tenants === undefined || tenants === 'all') return undefined;
  if (Array.isArray(tenants)) return tenants.map(databaseOf);
  throw invalidOption(
    `${owner}: tenants must be 'all' or an array of tenants; got ${inspect(tenants)}. Without it, the current tenant is read.`,
  );
}

/** Whether rows of a database belong to a stream type of tenants. */
const isAsked = (
  database: string,
  scope: ResolvedStream['scope'],
  databases: readonly string[] | undefined,
): boolean =>
  databases === undefined ? scope === undefined || database !== sharedDatabase : databases.includes(database);

function assertPosition(owner: string, after: unknown): void {
  if (after === undefined || isFeedPosition(after)) return;
  throw invalidOption(`${owner}: after must be a position of the feed; got ${inspect(after)}.`);
}
