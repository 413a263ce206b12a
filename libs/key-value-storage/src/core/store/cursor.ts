/** Cursors of pages: the last key of a page, and a digest of its range and tenant. */
import { storageError } from '../base/errors.js';
import { decodeKey, encodeKey } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import { limits } from '../base/limits.js';
import type { ScanRange } from '../port/storage-provider.js';
import { textDigest } from '../encoding/text-digest.js';

/** What a cursor is bound to. */
export type CursorScope = Pick<ScanRange, 'database' | 'container' | 'entity' | 'start' | 'end' | 'reverse'>;

const pattern = /^([0-9a-z]{1,16})\.([A-Za-z0-9_-]+)$/;

export function encodeCursor(scope: CursorScope, lastKey: string): string {
  const binary = String.fromCharCode(...new TextEncoder().encode(lastKey));
  return `${hashOf(scope, lastKey)}.${btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

/**
 * The key after which the page begins. `isRowKey`: whether a text is a key of such rows. Clients
 * send cursors, so everything is checked: `INVALID_CURSOR` for one of another range, tenant or
 * state, for one whose key Kvent did not write, and for one above `cursorCharactersMax`.
 */
export function decodeCursor(
  scope: CursorScope,
  cursor: unknown,
  isRowKey: (text: string) => boolean = isEncodedKey,
): string {
  if (typeof cursor !== 'string') throw invalidCursor(`A cursor must be a text; got ${inspect(cursor)}.`);
  if (cursor.length > limits.cursorCharactersMax)
    throw invalidCursor(
      `A cursor must have at most ${limits.cursorCharactersMax} characters; got ${cursor.length}.`,
    );
  const [, hash, code] = pattern.exec(cursor) ?? [];
  const lastKey = code === undefined ? undefined : decodeBase64Url(code);
  if (
    lastKey === undefined ||
    hash !== hashOf(scope, lastKey) ||
    !isRowKey(lastKey) ||
    !isWithin(scope, lastKey)
  ) {
    throw invalidCursor(
      `${inspect(cursor)} is not a cursor of this range and tenant: pass \`next\` of the page before, with the same range.`,
    );
  }
  return lastKey;
}

const invalidCursor = (message: string) => storageError('INVALID_CURSOR', message, {});

/**
 * Whether it is an encoded key: an engine is never asked for NUL, lone surrogates or a long key.
 */
export function isEncodedKey(encoded: string): boolean {
  try {
    const key = decodeKey(encoded);
    return key !== undefined && encodeKey(key) === encoded;
  } catch {
    return false;
  }
}

const isWithin = ({ start, end }: CursorScope, key: string): boolean =>
  (start === undefined || key >= start) && (end === undefined || key < end);

function decodeBase64Url(code: string): string | undefined {
  try {
    const binary = atob(code.replaceAll('-', '+').replaceAll('_', '/'));
    return new TextDecoder('utf-8', { fatal: true }).decode(
      Uint8Array.from(binary, (character) => character.charCodeAt(0)),
    );
  } catch {
    return undefined;
  }
}

/** Against mistakes, not against forgery: a cursor gives access to nothing outside its range. */
function hashOf(scope: CursorScope, lastKey: string): string {
  return textDigest(
    JSON.stringify([
      scope.database,
      scope.container,
      scope.entity,
      scope.start,
      scope.end,
      scope.reverse === true,
      lastKey,
    ]),
  );
}
