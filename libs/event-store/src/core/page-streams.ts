/** Lists the streams of one type, from their heads, ordered by id. */
import { decodeKey, invalidOption } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  assertPageLimit,
  decodeCursor,
  inspect,
  encodeCursor,
  encodeRange,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import { headIn } from './rows/head.js';
import type { StreamPage, StreamPageRequest } from './definition/event-stream.js';
import type { ResolvedStream } from './definition/stream-definition.js';
import { corrupt } from './rows/stream-addresses.js';

const itemsDefault = 100;

/** Streams without events and deleted streams are left out. */
export async function pageStreams(
  access: StorageAccess,
  definition: ResolvedStream,
  database: string,
  request: StreamPageRequest | undefined,
  signal: AbortSignal | undefined,
): Promise<StreamPage> {
  assertOptions('page', request, ['prefix', 'limit', 'cursor']);
  const { prefix, limit = itemsDefault, cursor } = request ?? {};
  assertPageLimit(limit);
  if (prefix !== undefined && typeof prefix !== 'string')
    throw invalidOption(`page: prefix must be a string; got ${inspect(prefix)}.`);
  const scope = {
    database,
    container: definition.containers.head,
    entity: '',
    ...encodeRange(prefix === undefined ? {} : { prefix }),
    reverse: false,
  };
  const items: StreamPage['items'][number][] = [];
  const after = cursor === undefined ? {} : { after: decodeCursor(scope, cursor) };
  for await (const page of access.scanPages({ ...scope, ...after, limit }, { signal })) {
    for (const { key, row } of page.rows) {
      const address = { ...scope, key };
      const { kind, version } = headIn(address, row);
      if (kind === 'deleted' || version === 0) continue;
      const id = decodeKey(key);
      if (typeof id !== 'string') throw corrupt(address, 'Kvent did not write its key');
      items.push(Object.freeze({ id, version, updatedAt: new Date(row.updatedAt) }));
      if (items.length === limit)
        return {
          items,
          next: page.more || page.rows.at(-1)?.key !== key ? encodeCursor(scope, key) : undefined,
        };
    }
  }
  return { items, next: undefined };
}
