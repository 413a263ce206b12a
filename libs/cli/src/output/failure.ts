/** Errors as one line for people: the message, the code, and advice. `Output` prints them. */
import { inspect } from 'node:util';
import { isStorageError } from '@kvent/key-value-storage/internal/rows';

/** An error, and what the user can do about it. */
export class ErrorWithAdvice extends Error {
  readonly advice: string;

  constructor(cause: unknown, advice: string) {
    super(messageOf(cause), { cause });
    this.advice = advice;
  }
}

interface Failure {
  readonly line: string;
  readonly json: {
    readonly error: { readonly code: string; readonly message: string; readonly effect: string };
  };
  /**
   * With all causes, for `--verbose`. Each line is indented, so that it cannot look like one of
   * `kvent`.
   */
  readonly details: readonly string[];
}

export function failureOf(error: unknown): Failure {
  const cause = error instanceof ErrorWithAdvice ? error.cause : error;
  const advice = error instanceof ErrorWithAdvice ? ` ${error.advice}` : '';
  const message = inOneLine(`${messageOf(cause)}${advice}`);
  const { code, effect } = isStorageError(cause) ? cause : { code: 'UNEXPECTED', effect: 'unknown' };
  const line = isStorageError(cause) ? message : `${message} [UNEXPECTED; --verbose prints details]`;
  const details = inspect(cause)
    .split('\n')
    .map((each) => `    ${each}`);
  return { line, json: { error: { code, message, effect } }, details };
}

/**
 * Not one pattern with blanks around a line break: it would take quadratic time over long blanks.
 */
const inOneLine = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .join(' ');

function messageOf(error: unknown): string {
  if (isStorageError(error)) return `${error.message} [${error.code}, ${error.help}]`;
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
