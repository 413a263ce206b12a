/**
 * Errors as RFC 9457 problem details: which fields are sent, and which never. Statuses come from
 * the one table in `core/errors.ts`.
 */
import { STATUS_CODES } from 'node:http';
import { titleOf, type StorageError } from '../../core/base/errors.js';
import { isBytes, isDate, isError } from '../../core/base/kinds.js';

/** What is sent as `application/problem+json`. `type` names the kind of error and is no address. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  /** The path of the request, without its query. */
  readonly instance?: string;
  /** Stable: what programs decide by. */
  readonly code?: string;
  /** Whether the same request may succeed later. */
  readonly retryable?: boolean;
  readonly [field: string]: unknown;
}
export interface Problem {
  readonly body: ProblemDetails;
  readonly headers: Readonly<Record<string, string>>;
}

// Of the error's own fields: what the problem says in its own words, and what concerns the server
// alone.
const kept = new Set([
  'name',
  'message',
  'stack',
  'cause',
  'code',
  'effect',
  'retryable',
  'status',
  'help',
  'attempts',
  'check',
]);
const retryAfterS = 1;

/**
 * An error of the table. From 500 on nothing of its message or fields is sent: they may name files
 * and hosts.
 */
export function storageProblem(error: StorageError): Problem {
  const status = statusOf(error);
  const { code, retryable } = error;
  const described = status < 500 ? { ...detailsOf(error), detail: messageOf(error) } : {};
  const body = {
    ...described,
    type: `urn:kvent:error:${code.toLowerCase()}`,
    title: titleOf(error),
    status,
    code,
    retryable,
  };
  return { body, headers: retryAfter(error, status) };
}

/** A check that the caller gave is a precondition of the request, wherever it failed. */
function statusOf(error: StorageError & { readonly check?: unknown }): number {
  return error.status === 409 && error.check === 'caller' ? 412 : error.status;
}

/** The message; from 500 on the title of the code alone. */
export const messageOf = (error: StorageError): string =>
  error.status < 500 ? error.message : titleOf(error);

function detailsOf(error: StorageError): Record<string, unknown> {
  const fields = Object.entries(error).filter(([name, value]) => !kept.has(name) && value !== undefined);
  return Object.fromEntries(
    fields.map(([name, value]) => [name, name === 'issues' ? issuesOf(value) : value]),
  );
}

/** Message and path alone: what schema libraries add may be the value itself. */
function issuesOf(issues: unknown): unknown {
  if (!Array.isArray(issues)) return [];
  return issues
    .slice(0, issuesMax)
    .map(({ message, path }: { readonly message?: unknown; readonly path?: readonly unknown[] }) => ({
      message: cut(message),
      path: (path ?? []).map((part) =>
        cut(typeof part === 'object' && part !== null && 'key' in part ? part.key : part),
      ),
    }));
}

/** Names of properties, and what a schema says of them, may be as long as the body is. */
const textMax = 500;
const issuesMax = 100;
const cut = (text: unknown): unknown =>
  typeof text === 'string' && text.length > textMax ? `${text.slice(0, textMax - 1)}…` : text;

/**
 * Where waiting helps: a conflict that was retried already, a lock, and a storage that is not
 * there. Whole seconds, at least one.
 */
function retryAfter(
  error: StorageError & { readonly until?: unknown },
  status: number,
): Record<string, string> {
  const waitingHelps = (status === 409 && error.attempts !== undefined) || status === 423 || status === 503;
  if (!waitingHelps) return {};
  const left = isDate(error.until) ? Math.ceil((error.until.getTime() - Date.now()) / 1_000) : retryAfterS;
  return { 'Retry-After': String(Math.max(left, retryAfterS)) };
}

/**
 * An aborted call is never sent as such. This is the answer where the client still listens.
 */
export function abortedProblem({ effect }: StorageError): Problem {
  return plainProblem(
    effect === 'none' ? 503 : 504,
    'The request was aborted before its end.',
    effect === 'none' ? { 'Retry-After': '1' } : {},
  );
}

interface HttpErrorShape {
  readonly getStatus?: () => number;
  readonly getResponse?: () => unknown;
  readonly statusCode?: unknown;
  readonly status?: unknown;
  readonly expose?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
}

/** Nest's own errors, and those of body parsers; anything else is a 500 that tells nothing. */
export function httpProblem(error: unknown): Problem {
  const shape = (typeof error === 'object' && error !== null ? error : {}) as HttpErrorShape;
  if (typeof shape.getStatus === 'function' && typeof shape.getResponse === 'function') {
    return exceptionProblem(shape.getStatus(), shape.getResponse());
  }
  const { statusCode, expose, code } = shape;
  const fromParser = typeof expose === 'boolean' || (typeof code === 'string' && code.startsWith('FST_'));
  if (!fromParser || typeof statusCode !== 'number' || statusCode < 400 || statusCode > 599)
    return plainProblem(500);
  return plainProblem(statusCode, statusCode < 500 && expose !== false ? shape.message : undefined);
}

function exceptionProblem(status: number, response: unknown): Problem {
  if (isError(response)) return plainProblem(status);
  if (typeof response !== 'object' || response === null) return plainProblem(status, response);
  const { message, statusCode: _, error, ...more } = response as Record<string, unknown>;
  const fields = { ...more, ...(typeof error === 'object' && error !== null && { error }) };
  if (!Array.isArray(message)) return plainProblem(status, message, {}, fields);
  return plainProblem(
    status,
    message.join('; '),
    {},
    { ...fields, issues: message.map((issue: unknown) => ({ message: issue })) },
  );
}

function plainProblem(
  status: number,
  detail?: unknown,
  headers: Problem['headers'] = {},
  fields: object = {},
): Problem {
  const title = STATUS_CODES[status] ?? 'Error';
  const known = typeof detail === 'string' && detail !== '' && detail !== title ? { detail } : {};
  return { body: { ...fields, ...known, type: 'about:blank', title, status }, headers };
}

/** JSON of whatever stands in it: 64-bit numbers as text, bytes as base64. */
export function problemJson(body: ProblemDetails): string {
  try {
    return JSON.stringify(body, (_name, value: unknown) => {
      if (typeof value === 'bigint') return value.toString();
      return isBytes(value) ? Buffer.from(value).toString('base64') : value;
    });
  } catch {
    // an extension that is no JSON must not swallow the error it was to explain
    const { type, title, status, detail, code } = body;
    return JSON.stringify({ type, title, status, detail, code });
  }
}
