/**
 * A query object for `client.query`, which takes any object with `submit`, as `pg-cursor` does.
 * Every column is text, so it does not ask the server to describe the columns: that saves a fifth
 * of a small read.
 */
import { EventEmitter } from 'node:events';
import { TextArray } from '../sql/array-parameters.js';
import type { Columns } from '../sql/decode-row.js';
import type { Framing } from './scope.js';

/** The part of a `pg` connection's protocol that is used. */
export interface Protocol {
  /** The texts that the server has parsed, by name. */
  readonly parsedStatements: Record<string, string>;
  readonly stream: {
    readonly encrypted?: boolean;
    readonly remoteAddress?: string | undefined;
    cork?(): void;
    uncork?(): void;
    destroy?(): void;
  };
  parse(message: { readonly name: string; readonly text: string }): void;
  close(message: { readonly type: 'S'; readonly name: string }): void;
  bind(message: {
    readonly portal: string;
    readonly statement: string;
    readonly values: readonly (string | Buffer | null)[];
  }): void;
  execute(message: { readonly portal: string; readonly rows: number }): void;
  sync(): void;
  sendCopyFail(reason: string): void;
}

/** The result of a statement, with the properties of a result of `pg`. */
class TextResult {
  readonly rows: Columns[] = [];
  readonly fields: readonly unknown[] = [];
  readonly oid = null;
  /** As the server sends it: `INSERT 0 1`. */
  completed = '';

  get command(): string {
    return /^[A-Za-z]*/.exec(this.completed)?.[0] ?? '';
  }

  get rowCount(): number | null {
    const count = /\d+$/.exec(this.completed)?.[0];
    return count === undefined ? null : Number(count);
  }
}

/** `pg` calls it with null and a result, or with an error. */
type QueryCallback = (error: unknown, result?: { readonly rows: readonly Columns[] }) => void;

/** Keeps columns as text, whatever parsers the application has set. */
const asText = { getTypeParser: () => (text: string) => text };

/**
 * Options of `pg` (`query_timeout`) and instrumentation (OpenTelemetry, Datadog, Elastic) replace
 * `callback`, read or redefine `text`, listen for `end`, derive from the query or copy it into a
 * configuration of `pg`. So it is what a `Query` of `pg` is: an emitter with own, enumerable and
 * writable properties and no private field, whose copy is a configuration with the same meaning.
 */
export class TextQuery extends EventEmitter {
  /** Without a name the statement is parsed each time. */
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
  readonly rowMode = 'array';
  readonly types = asText;
  callback: QueryCallback | undefined;
  /** Called with each line when it arrives. */
  received: ((line: Columns) => void) | undefined;
  readonly result = new TextResult();
  /** Statements that run in the same round trip and transaction: settings, savepoints, checks. */
  before: readonly Framing[] = [];
  after: readonly Framing[] = [];
  /** How many statements are complete. */
  complete = 0;
  /** The names of the statements that were sent to be parsed. */
  readonly parsed: string[] = [];

  constructor(name: string, text: string, values: readonly unknown[], callback: QueryCallback) {
    super();
    this.name = name;
    this.text = text;
    this.values = values;
    this.callback = callback;
  }

  submit(protocol: Protocol): Error | null {
    const parsed = this.name === '' ? undefined : protocol.parsedStatements[this.name];
    if (parsed !== undefined && parsed !== this.text)
      return new Error(`Another statement has the name '${this.name}'.`);
    // in one packet
    protocol.stream.cork?.();
    try {
      for (const framing of this.before) this.frame(protocol, framing);
      if (parsed === undefined) this.parse(protocol, this);
      protocol.bind({ portal: '', statement: this.name, values: this.values.map(parameterOf) });
      protocol.execute({ portal: '', rows: 0 });
      for (const framing of this.after) this.frame(protocol, framing);
      // all messages before one sync are one transaction
      protocol.sync();
    } finally {
      protocol.stream.uncork?.();
    }
    return null;
  }

  /** Prepared if the statement is. */
  frame(protocol: Protocol, [{ name, text }, values]: Framing): void {
    const statement = this.name === '' ? '' : name;
    if (statement === '' || protocol.parsedStatements[statement] !== text)
      this.parse(protocol, { name: statement, text });
    protocol.bind({ portal: '', statement, values: values.map(parameterOf) });
    protocol.execute({ portal: '', rows: 0 });
  }

  /** Closed before, as the server may have it still. That is no error where it does not. */
  parse(protocol: Protocol, { name, text }: { readonly name: string; readonly text: string }): void {
    if (name !== '') protocol.close({ type: 'S', name });
    protocol.parse({ name, text });
    this.parsed.push(name);
  }

  /**
   * Statements stay prepared when a later one fails. Of the one that failed that is not known, and
   * `pg` records this one when the server has parsed any of those before it.
   */
  recordParsed(protocol: Protocol | undefined): void {
    if (protocol === undefined || this.name === '') return;
    const sent = [...this.before.map(([statement]) => statement), this];
    for (const [place, { name, text }] of sent.entries())
      if (place < this.complete) protocol.parsedStatements[name] = text;
      else if (this.parsed.includes(name)) Reflect.deleteProperty(protocol.parsedStatements, name);
  }

  handleDataRow({ fields }: { readonly fields: Columns }): void {
    if (this.complete !== this.before.length) return;
    this.received?.(fields);
    this.result.rows.push(fields);
    this.emit('row', fields, this.result);
  }

  /**
   * An error thrown by the callback must not block the next query: as in `pg`, it is thrown later.
   */
  handleReadyForQuery(protocol?: Protocol): void {
    this.recordParsed(protocol);
    try {
      this.callback?.(null, this.result);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
    this.emit('end', this.result);
  }

  handleError(error: unknown, protocol?: Protocol): void {
    this.recordParsed(protocol);
    if (this.callback === undefined) this.emit('error', error);
    else this.callback(error);
  }

  handleRowDescription(): void {
    // every column is text
  }

  /** Not yet the end: the transaction commits before the server is ready for the next query. */
  handleCommandComplete({ text }: { readonly text: string }): void {
    if (this.complete === this.before.length) this.result.completed = text;
    this.complete += 1;
  }

  handleEmptyQuery(): void {
    // no statement is empty
  }

  handlePortalSuspended(): void {
    // all rows are requested at once
  }

  handleCopyInResponse(protocol: Protocol): void {
    protocol.sendCopyFail('No statement copies.');
  }

  handleCopyData(): void {
    // no statement copies
  }
}

/** Dimensions, flags, the type of the elements, their count, and the index of the first. */
const headerBytes = 20;
const textOid = 25;

/** A parameter as text, an array as an array literal of Postgres; an array of texts in binary. */
function parameterOf(value: unknown): string | Buffer | null {
  if (typeof value === 'string') return value;
  if (value instanceof TextArray) return binaryOf(value.values);
  return Array.isArray(value)
    ? `{${value.map((element) => plain(element) ?? 'NULL').join(',')}}`
    : plain(value);
}

/** As `array_recv` of the server reads it. */
function binaryOf(values: readonly (string | null)[]): Buffer {
  if (values.length === 0) return Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, textOid]);
  const bytes = values.reduce(
    (sum, value) => sum + 4 + (value === null ? 0 : Buffer.byteLength(value)),
    headerBytes,
  );
  const buffer = Buffer.allocUnsafe(bytes);
  const hasNull = values.includes(null) ? 1 : 0;
  for (const [index, word] of [1, hasNull, textOid, values.length, 1].entries())
    buffer.writeInt32BE(word, index * 4);
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
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  throw new TypeError(`No parameter of a statement is of the type ${typeof value}.`);
}
