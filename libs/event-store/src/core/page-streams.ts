/** Lists the streams of one type, from their heads, ordered by id. */
import { limits } from '@kvent/key-value-storage/core';
import { decodeKey, invalidOption, storageError } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  decodeCursor,
  inspect,
  encodeCursor,
  encodeRange,
  outOfRange,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import { headIn } from './rows/head.js';
import type { StreamPage, StreamPageRequest } from './definition/event-stream.js';
import type { ResolvedStream } from './definition/stream-definition.js';
import { corrupt, headContainerOf } from './rows/stream-rows.js';

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
  assertLimit(limit);
  if (prefix !== undefined && typeof prefix !== 'string')
    throw invalidOption(`page: prefix must be a string; got ${inspect(prefix)}.`);
  const scope = {
    database,
    container: headContainerOf(definition),
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

function assertLimit(limit: unknown): void {
  if (typeof limit !== 'number')
    throw invalidOption(`A page's limit is a number; given was ${inspect(limit)}.`);
  if (!Number.isInteger(limit) || limit < 1)
    throw outOfRange(
      `A page's limit is a whole number from 1 to ${limits.pageItemsMax}; given was ${inspect(limit)}.`,
    );
  if (limit > limits.pageItemsMax) {
    const [given, allowed] = [limit, limits.pageItemsMax];
    throw storageError(
      'LIMIT_EXCEEDED',
      `A page of ${given} items is over the limit pageItemsMax of ${allowed}.`,
      {
        limit: 'pageItemsMax',
        given,
        allowed,
      },
    );
  }
}
