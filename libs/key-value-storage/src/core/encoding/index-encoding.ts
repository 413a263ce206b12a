/** The addresses of index rows as stored text: made of encoded texts and keys, and separators. */
import { decodeText } from './text-encoding.js';

/** How the containers of index rows begin. */
export const indexContainer = 'index:';

/** In entities, and at the end of keys of status rows. No encoded text holds it. */
export const indexSeparator = '!';

/**
 * Between the key of the index and that of the entry. No encoded key holds two of them together.
 */
export const indexKeySeparator = '!!';

/**
 * Whether a text is the entity of index rows (state, index and hash of its definition), or of the
 * status rows of the indexes of a state (the state alone).
 */
export function isIndexEntity(entity: string): boolean {
  const parts = entity.split(indexSeparator);
  return (parts.length === 1 || parts.length === 3) && parts.every((part) => decodeText(part) !== undefined);
}

/** Whether a text is the key of a row of an index: two encoded keys, or one. */
export function isIndexRowKey(rowKey: string, isKey: (encoded: string) => boolean): boolean {
  const at = rowKey.indexOf(indexKeySeparator);
  return at < 0
    ? isKey(rowKey)
    : isKey(rowKey.slice(0, at)) && isKey(rowKey.slice(at + indexKeySeparator.length));
}

/** Whether a text is the key of a status row: the name of an index, with or without a separator. */
export const isIndexStatusKey = (key: string): boolean =>
  decodeText(key.endsWith(indexSeparator) ? key.slice(0, -1) : key) !== undefined;
