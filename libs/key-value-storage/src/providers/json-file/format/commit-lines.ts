/**
 * The journal lines of a group of commits, as bytes in one buffer. Rows are written one by one, and
 * their lengths are what the buffer took: no text of a row, a line or a group is made flat, which
 * was a tenth of the time of an event and a fifth of its garbage.
 */
import { storageError } from '../../../core/base/errors.js';
import { limits } from '../../../core/base/limits.js';
import { wallOf, type JournalLine } from './journal-line.js';
import { RowTexts } from './row-text.js';
import { sealAt, unsealed } from './sealed-line.js';

type CommitLine = Extract<JournalLine, { kind: 'commit' }>;

const comma = 0x2c;
const lineFeed = 0x0a;
const blank = 0x20;
const tail = ']}\n';
/** Room for the head of a line without its sizes: the names, and four numbers. */
const headBytes = 200;
/** Room for a size and its comma: a row has at most 32 MB. */
const sizeBytes = 9;
/** A character takes three bytes at most; a longer text is counted instead. */
const countedFrom = 65_536;

/** A buffer that one group after the other uses: the system clears the pages of a new one. */
export class SpareBuffer {
  #buffer: Buffer | undefined;

  take(): Buffer {
    const buffer = this.#buffer ?? Buffer.allocUnsafeSlow(spareBytesMin);
    this.#buffer = undefined;
    return buffer;
  }

  /** Call it when nothing reads the buffer any more. */
  give(buffer: Buffer): void {
    if (buffer.length <= spareBytesMax) this.#buffer = buffer;
  }
}

const spareBytesMin = 64 * 1_024;
const spareBytesMax = 4 * 1_024 * 1_024;

export class CommitLines {
  readonly #spare: SpareBuffer;
  readonly #texts = new RowTexts();
  #buffer: Buffer | undefined;
  #length = 0;

  constructor(spare = new SpareBuffer()) {
    this.#spare = spare;
  }

  /** In bytes. */
  get length(): number {
    return this.#length;
  }

  /**
   * `LIMIT_EXCEEDED` for a line that would be cut when it is read; the limits above the port keep
   * batches far below it.
   */
  add({ number, onDisk, time, wall, effects }: CommitLine): void {
    const start = this.#length;
    // the sizes stand before the rows, and are known after them
    const rowsAt = start + headBytes + effects.length * sizeBytes;
    let buffer = this.#withRoom(rowsAt);
    let end = rowsAt;
    let sizes = '';
    for (const effect of effects) {
      const text = this.#texts.of(effect);
      const most = text.length < countedFrom ? text.length * 3 : Buffer.byteLength(text);
      if (buffer.length - end < most + tail.length) buffer = this.#withRoom(end + most + tail.length, end);
      if (sizes !== '') {
        buffer[end] = comma;
        end += 1;
        sizes += ',';
      }
      const size = buffer.write(text, end);
      sizes += size;
      end += size;
      assertReadable(end - start);
    }
    const head = `${unsealed}"number":${number},"onDisk":${onDisk},"time":${time}${wallOf({ time, wall })},"sizes":[${sizes}],"rows":[`;
    buffer.write(head, start, 'latin1');
    buffer.copyWithin(start + head.length, rowsAt, end);
    end -= rowsAt - start - head.length;
    this.#length = end + buffer.write(tail, end, 'latin1');
  }

  /** The lines, each with its sum, and so many blanks behind them. */
  sealed(seed: number, blanks = 0): Buffer {
    const length = this.#length;
    const buffer = this.#withRoom(length + blanks);
    for (let start = 0; start < length;) {
      const end = buffer.indexOf(lineFeed, start);
      sealAt(buffer, start, end, seed);
      start = end + 1;
    }
    buffer.fill(blank, length, length + blanks);
    return buffer.subarray(0, length + blanks);
  }

  /** Call it once the lines are written, or will never be. */
  release(): void {
    if (this.#buffer !== undefined) this.#spare.give(this.#buffer);
    this.#buffer = undefined;
  }

  /** A buffer with room for so many bytes; `filled`: how many are in it. */
  #withRoom(bytes: number, filled = this.#length): Buffer {
    const buffer = (this.#buffer ??= this.#spare.take());
    if (buffer.length >= bytes) return buffer;
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes, buffer.length * 2));
    buffer.copy(larger, 0, 0, filled);
    return (this.#buffer = larger);
  }
}

function assertReadable(given: number): void {
  const allowed = limits.journalLineBytesMax;
  if (given + tail.length <= allowed) return;
  throw storageError(
    'LIMIT_EXCEEDED',
    `A batch of ${given} bytes as a line of the journal is over the limit of ${allowed}.`,
    { limit: 'journalLineBytesMax', given, allowed },
  );
}
