/** Cursors of pages: where the last page ended, and what it was a page of, so that a cursor is refused where it does not belong. */
import { invalidOption } from './options.js';
import type { ScanRange } from './storage-provider.js';

/** What a cursor is bound to: its range and its place. */
export type CursorScope = Pick<ScanRange, 'database' | 'container' | 'entity' | 'start' | 'end' | 'reverse'>;

const pattern = /^([0-9a-z]+)\.([A-Za-z0-9_-]+)$/;

export function encodeCursor(scope: CursorScope, lastKey: string): string {
  const binary = String.fromCharCode(...new TextEncoder().encode(lastKey));
  return `${hashOf(scope, lastKey)}.${btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

/** The key after which the page begins; `INVALID_OPTION` for a cursor of another range, tenant or state, and for a damaged one. */
export function decodeCursor(scope: CursorScope, cursor: string): string {
  const [, hash, code] = pattern.exec(cursor) ?? [];
  const lastKey = code === undefined ? undefined : decodeBase64Url(code);
  if (lastKey === undefined || hash !== hashOf(scope, lastKey)) {
    throw invalidOption('The cursor is not one of this range and tenant: pass `next` of the page before, with the same range.');
  }
  return lastKey;
}

function decodeBase64Url(code: string): string | undefined {
  try {
    const binary = atob(code.replaceAll('-', '+').replaceAll('_', '/'));
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

/** FNV-1a, twice with different offsets: 64 bits against mistakes, not against forgery: a cursor opens nothing that its range does not. */
function hashOf(scope: CursorScope, lastKey: string): string {
  const text = JSON.stringify([scope.database, scope.container, scope.entity, scope.start, scope.end, scope.reverse === true, lastKey]);
  let one = 0x811c9dc5;
  let two = 0x01000193;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    one = Math.imul(one ^ unit, 0x01000193);
    two = Math.imul(two ^ unit, 0x01000193);
  }
  return (one >>> 0).toString(36) + (two >>> 0).toString(36);
}
