/**
 * A statement as `pg` sends it, for whom every column is text anyway: a query of one's own, as `pg-cursor` is one (whatever has `submit` may be
 * handed to `client.query`). It asks for no description of the columns, which the server would else send with every answer, and `pg` look
 * through: that is a fifth of a small read.
 */
import type { Columns } from '../sql/decode-row.js';
import { TextArray } from '../sql/text-array.js';

/** What is needed of the protocol side of a connection of `pg`. */
export interface Protocol {
  /** By name, once the server has parsed them. */
  readonly parsedStatements: Readonly<Record<string, string>>;
  readonly stream: { cork?(): void; uncork?(): void };
  parse(message: { readonly name: string; readonly text: string }): void;
  bind(message: { readonly portal: string; readonly statement: string; readonly values: readonly (string | Buffer | null)[] }): void;
  execute(message: { readonly portal: string; readonly rows: number }): void;
  sync(): void;
  sendCopyFail(reason: string): void;
}

type Settle = (error: unknown, rows: readonly Columns[]) => void;

export class TextQuery {
  /** `pg` remembers the text under the name once the server has parsed it. Without a name it is parsed each time. */
  readonly name: string;
  readonly text: string;
  readonly #values: readonly unknown[];
  readonly #settle: Settle;
  readonly #rows: Columns[] = [];

  constructor(name: string, text: string, values: readonly unknown[], settle: Settle) {
    this.name = name;
    this.text = text;
    this.#values = values;
    this.#settle = settle;
  }

  submit(protocol: Protocol): Error | null {
    const parsed = this.name === '' ? undefined : protocol.parsedStatements[this.name];
    if (parsed !== undefined && parsed !== this.text) return new Error(`Another statement has the name '${this.name}'.`);
    // in one packet
    protocol.stream.cork?.();
    try {
      if (parsed === undefined) protocol.parse({ name: this.name, text: this.text });
      protocol.bind({ portal: '', statement: this.name, values: this.#values.map(parameterOf) });
      protocol.execute({ portal: '', rows: 0 });
      protocol.sync();
    } finally {
      protocol.stream.uncork?.();
    }
    return null;
  }

  handleDataRow({ fields }: { readonly fields: Columns }): void {
    this.#rows.push(fields);
  }

  handleReadyForQuery(): void {
    this.#settle(undefined, this.#rows);
  }

  handleError(error: unknown): void {
    this.#settle(error, []);
  }

  handleRowDescription(): void {
    // every column is text
  }

  handleCommandComplete(): void {
    // ready for the next query is what counts: the commit comes before it
  }

  handleEmptyQuery(): void {
    // no statement of ours is empty
  }

  handlePortalSuspended(): void {
    // all rows are asked for at once
  }

  handleCopyInResponse(protocol: Protocol): void {
    protocol.sendCopyFail('No statement copies.');
  }

  handleCopyData(): void {
    // no statement copies
  }
}

/** Dimensions, flags, the type of the elements (text), how many they are, and the number of the first. */
const headerBytes = 20;
const textOid = 25;

/** A parameter as text, an array as an array literal of Postgres; an array of texts in binary. */
export function parameterOf(value: unknown): string | Buffer | null {
  if (typeof value === 'string') return value;
  if (value instanceof TextArray) return binaryOf(value.values);
  return Array.isArray(value) ? `{${value.map((element) => plain(element) ?? 'NULL').join(',')}}` : plain(value);
}

/** As `array_recv` of the server reads it. */
function binaryOf(values: readonly (string | null)[]): Buffer {
  if (values.length === 0) return Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, textOid]);
  const bytes = values.reduce((sum, value) => sum + 4 + (value === null ? 0 : Buffer.byteLength(value)), headerBytes);
  const buffer = Buffer.allocUnsafe(bytes);
  const hasNull = values.includes(null) ? 1 : 0;
  for (const [index, word] of [1, hasNull, textOid, values.length, 1].entries()) buffer.writeInt32BE(word, index * 4);
  let at = headerBytes;
  for (const value of values) {
    const written = value === null ? -1 : buffer.write(value, at + 4);
    buffer.writeInt32BE(written, at);
    at += 4 + Math.max(written, 0);
  }
  return buffer;
}

function plain(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  throw new TypeError(`No parameter of a statement is of the type ${typeof value}.`);
}
