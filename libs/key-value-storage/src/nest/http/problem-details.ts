/** Errors as RFC 9457 problem details. Statuses come from the table in `core/base/errors.ts`. */
import { STATUS_CODES } from 'node:http';
import { isStorageError, titleOf, type StorageError } from '../../core/base/errors.js';
import { isBytes, isDate, isError } from '../../core/base/kinds.js';

/** The body of `application/problem+json`. `type` identifies the kind of error; it is not a URL. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  /** The path of the request, without its query. */
  readonly instance?: string;
  /** Stable, for programs. */
  readonly code?: string;
  /** Whether the same request may succeed later. */
  readonly retryable?: boolean;
  readonly [field: string]: unknown;
}
export interface Problem {
  readonly body: ProblemDetails;
  readonly headers: Readonly<Record<string, string>>;
}

// fields of an error that the problem has in another form, and fields for the server only
const omittedFields = new Set([
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
  // of the feed, which counts what all tenants write
  'position',
]);
const retryAfterS = 1;

/**
 * An error of the table. From 500 on its message and fields are omitted: they may contain files and
 * hosts.
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

/** The problem of any error. */
export function problemOf(error: unknown): Problem {
  if (!isStorageError(error)) return httpProblem(error);
  return error.code === 'ABORTED' ? abortedProblem(error) : storageProblem(error);
}

/** 412 when a check of the caller failed, which is a precondition of the request. */
function statusOf(error: StorageError & { readonly check?: unknown }): number {
  return error.status === 409 && error.check === 'caller' ? 412 : error.status;
}

/** The message; from 500 on the title of the code alone. */
export const messageOf = (error: StorageError): string =>
  error.status < 500 ? error.message : titleOf(error);

function detailsOf(error: StorageError): Record<string, unknown> {
  const fields = Object.entries(error).filter(
    ([name, value]) => !omittedFields.has(name) && value !== undefined,
  );
  return Object.fromEntries(
    fields.map(([name, value]) => [name, name === 'issues' ? issuesOf(value) : value]),
  );
}

/** Only message and path: schema libraries may add the value itself. */
function issuesOf(issues: unknown): unknown {
  if (!Array.isArray(issues)) return [];
  return issues
    .slice(0, issuesMax)
    .map(({ message, path }: { readonly message?: unknown; readonly path?: readonly unknown[] }) => ({
      message: shorten(message),
      path: (path ?? []).map((part) =>
        shorten(typeof part === 'object' && part !== null && 'key' in part ? part.key : part),
      ),
    }));
}

/** Names of properties, and messages that contain them, may be as long as the request body. */
const textMax = 500;
const issuesMax = 100;
const shorten = (text: unknown): unknown =>
  typeof text === 'string' && text.length > textMax ? `${text.slice(0, textMax - 1)}…` : text;

/**
 * `Retry-After`, in whole seconds from 1, when the same request may succeed later: after a conflict
 * that was retried already, a first request in progress, a lock, or an unavailable storage.
 */
function retryAfter(
  error: StorageError & { readonly until?: unknown },
  status: number,
): Record<string, string> {
  const maySucceedLater =
    (status === 409 && (error.attempts !== undefined || error.code === 'IDEMPOTENCY_IN_PROGRESS')) ||
    status === 423 ||
    status === 503;
  if (!maySucceedLater) return {};
  const left = isDate(error.until) ? Math.ceil((error.until.getTime() - Date.now()) / 1_000) : retryAfterS;
  return { 'Retry-After': String(Math.max(left, retryAfterS)) };
}

/**
 * The problem of an aborted call, for a client that is still connected. It has no `ABORTED` code.
 */
function abortedProblem({ effect }: StorageError): Problem {
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
  readonly name?: unknown;
  readonly type?: unknown;
  readonly message?: unknown;
  readonly cause?: unknown;
}

/** Errors of Nest and of body parsers; anything else is a 500 without details. */
export function httpProblem(error: unknown): Problem {
  const shape = (typeof error === 'object' && error !== null ? error : {}) as HttpErrorShape;
  if (typeof shape.getStatus === 'function' && typeof shape.getResponse === 'function') {
    const status = shape.getStatus();
    const detail = frameworkDetail(shape.cause, status);
    return detail === undefined
      ? exceptionProblem(status, shape.getResponse())
      : plainProblem(status, detail);
  }
  const { statusCode, expose, code } = shape;
  const fromParser = typeof expose === 'boolean' || (typeof code === 'string' && code.startsWith('FST_'));
  if (!fromParser || typeof statusCode !== 'number' || statusCode < 400 || statusCode > 599)
    return plainProblem(500);
  const message = statusCode < 500 && expose !== false ? shape.message : undefined;
  return plainProblem(statusCode, frameworkDetail(error, statusCode) ?? message);
}

/**
 * The detail of an error of the body parser or the router. The messages of Express and Fastify
 * differ, and some repeat a part of the body.
 */
function frameworkDetail(error: unknown, status: number): string | undefined {
  const { name, type, code } = (typeof error === 'object' && error !== null ? error : {}) as HttpErrorShape;
  const isOfExpress = name === 'URIError' || (typeof type === 'string' && bodyParserTypes.test(type));
  const isOfFastify = typeof code === 'string' && fastifyCodes.test(code);
  return isOfExpress || isOfFastify ? frameworkDetails[status] : undefined;
}

const bodyParserTypes = /^(entity|encoding|charset|parameters|request)\./;
const fastifyCodes = /^FST_ERR_(CTP_|BAD_URL|MAX_PARAM_LENGTH)/;
const frameworkDetails: Readonly<Record<number, string | undefined>> = {
  400: 'The body or the address of the request is malformed.',
  413: 'The body of the request is too large.',
  414: 'The address of the request is too long.',
  415: 'The media type of the request is not supported.',
};

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

/** As JSON, with 64-bit numbers as text and bytes as base64. */
export function problemJson(body: ProblemDetails): string {
  try {
    return JSON.stringify(body, (_name, value: unknown) => {
      if (typeof value === 'bigint') return value.toString();
      return isBytes(value) ? Buffer.from(value).toString('base64') : value;
    });
  } catch {
    // an extension that cannot be JSON must not hide the problem
    const { type, title, status, detail, code } = body;
    return JSON.stringify({ type, title, status, detail, code });
  }
}
