/**
 * Splits bytes into records: lines, or records of CSV, in which a quoted field may contain line
 * feeds. A record that is too long is skipped without being held in memory.
 */
import { limits } from '@kvent/key-value-storage/core';

const [lineFeed, quote, comma] = [0x0a, 0x22, 0x2c];

/** `line`: the number of its first line, from 1. */
export type Piece =
  | { readonly line: number; readonly bytes: Buffer }
  | { readonly line: number; readonly fault: string };

export class RecordSplitter {
  readonly #csv: boolean;
  #parts: Buffer[] = [];
  #length = 0;
  #isHeld = true;
  #line = 1;
  /** Of the current record, line feeds inside quotes. */
  #lineFeeds = 0;
  /** Of a field of CSV: where its last byte was. A doubled quote closes and opens again. */
  #place: 'start' | 'inside' | 'closed' | 'plain' = 'start';

  constructor(csv: boolean) {
    this.#csv = csv;
  }

  /** The records that end in this chunk. */
  *push(chunk: Buffer): Generator<Piece, void> {
    let begin = 0;
    for (let end = this.#endIn(chunk, 0); end >= 0; end = this.#endIn(chunk, begin)) {
      this.#hold(chunk.subarray(begin, end));
      yield this.#take();
      begin = end + 1;
    }
    this.#hold(chunk.subarray(begin));
  }

  /** What follows the last line feed. */
  *end(): Generator<Piece, void> {
    if (this.#length === 0) return;
    const piece = this.#take();
    yield this.#place === 'inside'
      ? { line: piece.line, fault: 'It has a quote that is not closed.' }
      : piece;
  }

  /** The line feed that ends the current record, or -1. */
  #endIn(chunk: Buffer, from: number): number {
    if (!this.#csv) return chunk.indexOf(lineFeed, from);
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (this.#place === 'inside') {
        if (byte === quote) this.#place = 'closed';
        else if (byte === lineFeed) this.#lineFeeds += 1;
      } else if (byte === quote) this.#place = this.#place === 'plain' ? 'plain' : 'inside';
      else if (byte === lineFeed) {
        this.#place = 'start';
        return at;
      } else this.#place = byte === comma ? 'start' : 'plain';
    }
    return -1;
  }

  #hold(part: Buffer): void {
    this.#length += part.length;
    this.#isHeld = this.#length <= limits.backupLineBytesMax;
    if (!this.#isHeld) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  #take(): Piece {
    const line = this.#line;
    const piece: Piece = this.#isHeld
      ? { line, bytes: this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts) }
      : { line, fault: `It has more than ${limits.backupLineBytesMax} bytes.` };
    this.#line += 1 + this.#lineFeeds;
    this.#lineFeeds = 0;
    this.#parts = [];
    this.#length = 0;
    return piece;
  }
}
