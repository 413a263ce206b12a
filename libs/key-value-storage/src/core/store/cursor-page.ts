/** Pages from a cursor on, forward and backward, of a store and of an index. */
import type { ScanPage, ScanRange, ScannedRow } from '../port/storage-provider.js';
import { decodePosition, encodePosition, type CursorPosition, type CursorScope } from './cursor.js';

/** A read of a range that begins at a cursor, or at the end of the range where there is none. */
export class CursorPage {
  readonly #scope: CursorScope;
  readonly #position: CursorPosition | undefined;

  /** `INVALID_CURSOR`, as `decodePosition`. */
  constructor(scope: CursorScope, cursor: unknown, isRowKey?: (text: string) => boolean) {
    this.#scope = scope;
    this.#position = cursor === undefined ? undefined : decodePosition(scope, cursor, isRowKey);
  }

  /** What to scan. Backward, it is in the opposite order. */
  get range(): CursorScope & Pick<ScanRange, 'after'> {
    const [scope, position] = [this.#scope, this.#position];
    if (position === undefined) return scope;
    const { key, backward, inclusive } = position;
    const reverse = (scope.reverse === true) !== backward;
    if (!inclusive) return { ...scope, reverse, after: key };
    // no key has NUL, so nothing lies between a key and the key with this character behind it
    return reverse ? { ...scope, reverse, end: `${key}\u0001` } : { ...scope, reverse, start: key };
  }

  /** The rows of a scanned page in the order of the range, and the cursors around them. */
  of({ rows, more }: ScanPage): {
    readonly rows: readonly ScannedRow[];
    readonly previous: string | undefined;
    readonly next: string | undefined;
  } {
    const [scope, position] = [this.#scope, this.#position];
    const backward = position?.backward === true;
    const ordered = backward ? rows.toReversed() : rows;
    const cursor = (isBackward: boolean, at: 0 | -1): string | undefined => {
      const row = ordered.at(at);
      // an empty page lies at its own cursor: what is on the other side begins with that key
      const key = row?.key ?? position?.key;
      if (key === undefined) return undefined;
      const inclusive = row === undefined && position?.inclusive === false;
      return encodePosition(scope, { key, backward: isBackward, inclusive });
    };
    const hasPrevious = backward ? more : position !== undefined;
    const hasNext = backward || more;
    return {
      rows: ordered,
      previous: hasPrevious ? cursor(true, 0) : undefined,
      next: hasNext ? cursor(false, -1) : undefined,
    };
  }
}
