/**
 * The entries of a file, read as they are asked for. A record that is no entry is a failure with
 * the number of its line, and is not passed on.
 */
import { limits, type LoadItem } from '@kvent/key-value-storage/core';
import { messageOf } from '@kvent/key-value-storage/internal';
import { assertWithin, encodeValue, untilSignal } from '@kvent/key-value-storage/internal/rows';
import { HeaderError, type RecordFormat } from './record-format.js';
import type { RefusedRecords } from './refused-records.js';
import { RecordSplitter, type Piece } from './split.js';

/** More entries than a load has in flight. */
const linesMax = 10_000;
/** The value of a shorter record is below its limit, however its numbers are written. */
const lengthChecked = limits.valueBytesMax / 20;

export class ImportSource {
  expired = 0;
  readonly #format: RecordFormat;
  readonly #onError: 'stop' | 'continue';
  readonly #refused: RefusedRecords;
  /** Of the entries that were passed on last, by their index. */
  readonly #lines = new Map<number, number>();
  #passedOn = 0;
  #line = 0;
  readonly #ending = new AbortController();
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(format: RecordFormat, onError: 'stop' | 'continue', refused: RefusedRecords) {
    this.#format = format;
    this.#onError = onError;
    this.#refused = refused;
  }

  /** With `onError: 'stop'` the entries before the first failure. */
  async *items(bytes: AsyncIterable<Buffer>): AsyncGenerator<LoadItem, undefined> {
    const splitter = new RecordSplitter(this.#format.csv);
    try {
      for await (const chunk of untilSignal('The import', bytes, this.#ending.signal)) {
        yield* this.#itemsOf(splitter.push(chunk));
        await this.#refused.written();
        if (this.#isStopped) return undefined;
      }
    } catch (error) {
      if (this.#ending.signal.aborted) return undefined;
      throw error;
    }
    yield* this.#itemsOf(splitter.end());
    return undefined;
  }

  /** Refuses the entry that was passed on last: it is not loaded. */
  refuseLast(error: unknown): void {
    this.#passedOn -= 1;
    this.#refuse(this.#line, messageOf(error));
  }

  /** Refuses an entry that the load has refused. */
  async refuseLoaded(index: number, error: unknown): Promise<void> {
    this.#refused.add(this.#lines.get(index), messageOf(error));
    await this.#refused.written();
  }

  /** Passes on no more entries, and waits for none, unless failures are to be skipped. */
  endAfterFailure(): void {
    if (this.#onError === 'stop') this.#ending.abort();
  }

  get #isStopped(): boolean {
    return this.#ending.signal.aborted || (this.#refused.count > 0 && this.#onError === 'stop');
  }

  *#itemsOf(pieces: Iterable<Piece>): Generator<LoadItem, void> {
    for (const piece of pieces) {
      const item = this.#itemOf(piece);
      if (item !== undefined) {
        this.#passOn(piece.line);
        yield item;
      }
      if (this.#isStopped) return;
    }
  }

  #passOn(line: number): void {
    this.#line = line;
    this.#lines.set(this.#passedOn, line);
    this.#lines.delete(this.#passedOn - linesMax);
    this.#passedOn += 1;
  }

  #itemOf(piece: Piece): LoadItem | undefined {
    if ('fault' in piece) return this.#refuse(piece.line, piece.fault);
    try {
      const text = this.#textOf(piece);
      const read = text.trim() === '' ? 'header' : this.#format.read(text);
      if (read === 'expired') this.expired += 1;
      if (typeof read === 'string') return undefined;
      if (text.length > lengthChecked) assertSize(read);
      return read;
    } catch (error) {
      if (error instanceof HeaderError) throw error;
      return this.#refuse(piece.line, messageOf(error));
    }
  }

  #textOf({ line, bytes }: Extract<Piece, { readonly bytes: Buffer }>): string {
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      throw new Error('It is not UTF-8.');
    }
    return line === 1 ? text.replace(/^\ufeff/, '') : text;
  }

  #refuse(line: number, message: string): undefined {
    this.#refused.add(line, message);
  }
}

/** Here and not in the load, because the load does not know the line. */
function assertSize({ value }: LoadItem): void {
  const { text } = encodeValue(value, () => 'the value', { schemaVersion: 1 });
  assertWithin('valueBytesMax', text, 'value');
}
