/**
 * Errors as people meet them: one line, with the code, what holds, and what to do next. What is
 * shown of them goes through `Output`.
 */
import { inspect } from 'node:util';
import { isStorageError } from '@kvent/key-value-storage/core';

/** An error, and what to do about it here. */
export class Advised extends Error {
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
   * With all causes, for `--verbose`. Each line is indented, so that none of it can pass for a line
   * of `kvent` itself.
   */
  readonly story: readonly string[];
}

export function failureOf(error: unknown): Failure {
  const cause = error instanceof Advised ? error.cause : error;
  const advice = error instanceof Advised ? ` ${error.advice}` : '';
  const message = inOneLine(`${messageOf(cause)}${advice}`);
  const { code, effect } = isStorageError(cause) ? cause : { code: 'UNEXPECTED', effect: 'unknown' };
  const line = isStorageError(cause) ? message : `${message} [UNEXPECTED; --verbose tells more]`;
  const story = inspect(cause)
    .split('\n')
    .map((each) => `    ${each}`);
  return { line, json: { error: { code, message, effect } }, story };
}

/**
 * No pattern with blanks on both sides of a line break: it takes quadratic time over blanks that no
 * line break follows.
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
