/**
 * Cursors of pages: where the last page ended, and what it was a page of, so that a cursor is
 * refused where it does not belong.
 */
import { storageError } from '../base/errors.js';
import { decodeKey, encodeKey } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import { limits } from '../base/limits.js';
import type { ScanRange } from '../port/storage-provider.js';
import { textDigest } from '../encoding/text-digest.js';

/** What a cursor is bound to: its range and its place. */
export type CursorScope = Pick<ScanRange, 'database' | 'container' | 'entity' | 'start' | 'end' | 'reverse'>;

const pattern = /^([0-9a-z]{1,16})\.([A-Za-z0-9_-]+)$/;

export function encodeCursor(scope: CursorScope, lastKey: string): string {
  const binary = String.fromCharCode(...new TextEncoder().encode(lastKey));
  return `${hashOf(scope, lastKey)}.${btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

/**
 * The key after which the page begins. Cursors come back from clients, so nothing is taken on
 * trust: `INVALID_CURSOR` for one of another range, tenant or state, for one that holds no key that
 * Kvent wrote, and for one above `cursorCharactersMax`.
 */
export function decodeCursor(scope: CursorScope, cursor: unknown): string {
  if (typeof cursor !== 'string') throw invalidCursor(`A cursor is a text; given was ${inspect(cursor)}.`);
  if (cursor.length > limits.cursorCharactersMax)
    throw invalidCursor(
      `A cursor has at most ${limits.cursorCharactersMax} characters; given were ${cursor.length}.`,
    );
  const [, hash, code] = pattern.exec(cursor) ?? [];
  const lastKey = code === undefined ? undefined : decodeBase64Url(code);
  if (
    lastKey === undefined ||
    hash !== hashOf(scope, lastKey) ||
    !isKey(lastKey) ||
    !isWithin(scope, lastKey)
  ) {
    throw invalidCursor(
      `${inspect(cursor)} is no cursor of this range and tenant: pass \`next\` of the page before, with the same range.`,
    );
  }
  return lastKey;
}

const invalidCursor = (message: string) => storageError('INVALID_CURSOR', message, {});

/**
 * Whether it is the encoding of a key. So no engine is asked for what it cannot store: NUL, lone
 * surrogates, a key that is too long.
 */
function isKey(encoded: string): boolean {
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

/** Against mistakes, not against forgery: a cursor opens nothing that its range does not. */
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
