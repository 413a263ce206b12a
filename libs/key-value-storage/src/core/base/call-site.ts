/**
 * Where the program has made a call, for errors of definitions and of the start-up. Paths are
 * relative to the working directory; with `--enable-source-maps`, they are those of the sources.
 */
import { invalidOption } from './options.js';
import { isStorageError } from './errors.js';

/** The call site of `callee` as `file:line`: captured now, read when an error needs it. */
export function callSiteOf(callee: (...given: never[]) => unknown): () => string {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, callee);
  return () => placeIn(holder.stack ?? '');
}

/** The call site of `callee` as `file:line`. */
export const callSite = (callee: (...given: never[]) => unknown): string => callSiteOf(callee)();

/** What `work` returns. An `INVALID_OPTION` of it names the place too. */
export function located<R>(place: () => string, work: () => R): R {
  try {
    return work();
  } catch (error) {
    throw withPlace(error, place());
  }
}

/** An `INVALID_OPTION` whose message names the place; other errors as they are. */
export function withPlace(error: unknown, place: string): unknown {
  if (!isStorageError(error, 'INVALID_OPTION') || error.message.includes(place)) return error;
  return invalidOption(`${error.message} At ${place}.`);
}

function placeIn(stack: string): string {
  const frame = stack.split('\n').find((line) => /^\s+at /.test(line) && !line.includes('node:internal'));
  const place =
    frame && /\(?((?:file:\/\/)?[^()]+?):(\d+):\d+\)?$/.exec(frame.replace(/^\s+at (async )?/, ''));
  if (!place) return 'an unknown place';
  const [, file = '', line = ''] = place;
  return `${relativePath(file)}:${line}`;
}

function relativePath(file: string): string {
  const path = file.startsWith('file://')
    ? decodeURI(file.slice('file://'.length)).replace(/^\/(?=[A-Za-z]:)/, '')
    : file;
  const directory = workingDirectory()?.replaceAll('\\', '/');
  const isInside = directory !== undefined && path.replaceAll('\\', '/').startsWith(`${directory}/`);
  return isInside ? path.slice(directory.length + 1) : path;
}

/** Runtimes other than Node may have none. */
const workingDirectory = (): string | undefined =>
  (globalThis as { readonly process?: { readonly cwd?: () => string } }).process?.cwd?.();
