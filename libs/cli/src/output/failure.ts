/** Errors as people meet them: one line, with the code, what holds, and what to do next. */
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

export interface Failure {
  readonly line: string;
  readonly json: { readonly error: { readonly code: string; readonly message: string; readonly effect: string } };
  /** With all causes, for `--verbose`. */
  readonly story: string;
}

/** `args`: of the command; passwords that stand in them are told nowhere. */
export function failureOf(error: unknown, args: readonly string[]): Failure {
  const hide = hider(args);
  const cause = error instanceof Advised ? error.cause : error;
  const advice = error instanceof Advised ? ` ${error.advice}` : '';
  const message = hide(`${messageOf(cause)}${advice}`.replace(/\s*\n\s*/g, ' '));
  const { code, effect } = isStorageError(cause) ? cause : { code: 'UNEXPECTED', effect: 'unknown' };
  const line = isStorageError(cause) ? message : `${message} [UNEXPECTED; --verbose tells more]`;
  return { line, json: { error: { code, message, effect } }, story: hide(inspect(cause)) };
}

function messageOf(error: unknown): string {
  if (isStorageError(error)) return `${error.message} [${error.code}, ${error.help}]`;
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}

function hider(args: readonly string[]): (text: string) => string {
  const addresses = args.map((arg) => arg.replace(/^--[a-z-]+=/, '')).filter((arg) => /^postgres(ql)?:\/\//i.test(arg));
  const passwords = addresses.flatMap((address) => [
    ...(/^[a-z]+:\/\/[^/?#]*?:([^/?#]*)@/i.exec(address)?.slice(1) ?? []),
    ...Array.from(address.matchAll(/[?&]password=([^&#]+)/gi), ([, password = '']) => password),
  ]);
  const secrets = passwords.flatMap((password) => [password, decoded(password)]);
  return (text) =>
    secrets.reduce(
      // a short one would be found in ordinary words
      (told, secret) => (secret.length < 4 ? told.replaceAll(`:${secret}@`, ':***@') : told.replaceAll(secret, '***')),
      text,
    );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
