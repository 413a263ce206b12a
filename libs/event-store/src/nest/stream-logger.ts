/** Logs the entries of streams with Nest's logger: one line each, with the ids as fields. */
import { Logger } from '@nestjs/common';
import { isStorageError } from '@kvent/key-value-storage/core';
import { isDate, printable, thrownName } from '@kvent/key-value-storage/internal';
import type { StreamLogEntry, StreamObserver } from '../core/definition/stream-observer.js';

const levels = {
  'session opened': 'log',
  'session closed': 'log',
  'events appended': 'debug',
  'listener failed': 'error',
  'snapshot created': 'log',
  'session unlocked': 'warn',
  'session expired': 'warn',
  'version mismatch': 'warn',
  'snapshot ignored': 'warn',
  // another session holds the stream: expected where sessions compete
  'open failed': 'warn',
} as const satisfies Record<StreamLogEntry['event'], 'log' | 'debug' | 'warn' | 'error'>;

export class StreamLogger implements StreamObserver {
  readonly #logger: Pick<Logger, 'log' | 'debug' | 'warn' | 'error'>;

  constructor(logger: Pick<Logger, 'log' | 'debug' | 'warn' | 'error'> = new Logger('EventStore')) {
    this.#logger = logger;
  }

  observe({ event, ...fields }: StreamLogEntry): void {
    this.#logger[levels[event]](
      new LogLine(printable(`${event}: ${fields.type}/${fields.id}`), { event, ...toLogFields(fields) }),
    );
  }
}

/** The fields that the message of a line has already. */
const inMessage: ReadonlySet<string> = new Set(['message', 'event', 'type', 'id']);

/**
 * For a logger of JSON, an object with the ids as fields. For a logger of text, which prints what
 * `util.inspect` returns, one line: Nest's default logger prints a plain object on nine.
 */
class LogLine {
  readonly message: string;

  constructor(message: string, fields: Readonly<Record<string, unknown>>) {
    this.message = message;
    Object.assign(this, fields);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const others = Object.entries(this).filter(
      ([name, value]) => value !== undefined && !inMessage.has(name),
    );
    return `${this.message} (${others.map(([name, value]) => `${name}=${String(value)}`).join(', ')})`;
  }
}

/**
 * Strings without control characters, because an id must not forge a log line. Bigints and times as
 * strings, which every logger supports.
 */
function toLogFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]: [string, unknown]) => [
      name,
      name === 'cause' ? causeText(value) : toLogField(value),
    ]),
  );
}

function toLogField(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return printable(value);
  return isDate(value) ? value.toISOString() : value;
}

/**
 * Of a cause only what cannot hold data: the message of a parser quotes its input, and a listener
 * may throw any value.
 */
function causeText(cause: unknown): string | undefined {
  if (cause === undefined) return undefined;
  return printable(isStorageError(cause) ? cause.message : thrownName(cause));
}
