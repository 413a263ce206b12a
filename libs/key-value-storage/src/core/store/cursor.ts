/**
 * Cursors of pages: a position among the keys of a range, and a digest of that range and tenant.
 */
import { storageError } from '../base/errors.js';
import { decodeKey, encodeKey } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import { limits } from '../base/limits.js';
import type { ScanRange } from '../port/storage-provider.js';
import { textDigest } from '../encoding/text-digest.js';

/** What a cursor is bound to. */
export type CursorScope = Pick<ScanRange, 'database' | 'container' | 'entity' | 'start' | 'end' | 'reverse'>;

/**
 * Where a read begins: after this key, or with it (`inclusive`), in the order of the range or in
 * the opposite one (`backward`). Only a page without items has a cursor with its key.
 */
export interface CursorPosition {
  readonly key: string;
  readonly backward: boolean;
  readonly inclusive: boolean;
}

const pattern = /^([0-9a-z]{1,16})(\.{1,2}|~{1,2})([A-Za-z0-9_-]+)$/;

/** `lastKey`: after which the next page begins. */
export const encodeCursor = (scope: CursorScope, lastKey: string): string =>
  encodePosition(scope, { key: lastKey, backward: false, inclusive: false });

export function encodePosition(scope: CursorScope, position: CursorPosition): string {
  const binary = String.fromCharCode(...new TextEncoder().encode(position.key));
  const code = btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const mark = (position.backward ? '~' : '.').repeat(position.inclusive ? 2 : 1);
  return `${hashOf(scope, position.key, mark)}${mark}${code}`;
}

/** The key after which the page begins, of a page that goes forward only. As `decodePosition`. */
export function decodeCursor(scope: CursorScope, cursor: unknown): string {
  const { key, backward, inclusive } = decodePosition(scope, cursor);
  if (backward || inclusive) throw notOfRange(cursor);
  return key;
}

/**
 * Where a page begins. `isRowKey`: whether a text is a key of such rows. Clients send cursors, so
 * everything is checked: `INVALID_CURSOR` for one of another range, tenant or state, for one whose
 * key Kvent did not write, and for one above `cursorCharactersMax`.
 */
export function decodePosition(
  scope: CursorScope,
  cursor: unknown,
  isRowKey: (text: string) => boolean = isEncodedKey,
): CursorPosition {
  if (typeof cursor !== 'string') throw invalidCursor(`A cursor must be a text; got ${inspect(cursor)}.`);
  if (cursor.length > limits.cursorCharactersMax)
    throw invalidCursor(
      `A cursor must have at most ${limits.cursorCharactersMax} characters; got ${cursor.length}.`,
    );
  const [, hash, mark = '', code] = pattern.exec(cursor) ?? [];
  const key = code === undefined ? undefined : decodeBase64Url(code);
  if (key === undefined || hash !== hashOf(scope, key, mark) || !isRowKey(key) || !isWithin(scope, key))
    throw notOfRange(cursor);
  return { key, backward: mark.startsWith('~'), inclusive: mark.length === 2 };
}

const notOfRange = (cursor: unknown): Error =>
  invalidCursor(
    `${inspect(cursor)} is not a cursor of this range and tenant: pass \`next\` or \`previous\` of another page, with the same range.`,
  );

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
function hashOf(scope: CursorScope, key: string, mark: string): string {
  return textDigest(
    JSON.stringify([
      scope.database,
      scope.container,
      scope.entity,
      scope.start,
      scope.end,
      scope.reverse === true,
      key,
      // `next` keeps the cursors that clients have
      ...(mark === '.' ? [] : [mark]),
    ]),
  );
}
