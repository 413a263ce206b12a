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

/**
 * An `INVALID_OPTION` of a call, whose message names the line that called this package; the error
 * as it is where the stack has no such line, as in a bundle. For errors of a synchronous part.
 */
export function withCaller(error: Error): unknown {
  const [own, ...others] = framesIn(new Error().stack ?? '');
  const folder = own && ownFile.exec(own.file)?.[1];
  const caller = folder && others.find(({ file }) => !file.startsWith(folder));
  return caller ? withPlace(error, shownFrame(caller)) : error;
}

/** The path of this file, after the folder of the package's modules. */
const ownFile = /^(.*[\\/])core[\\/]base[\\/]call-site\.[jt]s$/;

interface Frame {
  readonly file: string;
  readonly line: string;
}

function placeIn(stack: string): string {
  const [frame] = framesIn(stack);
  return frame === undefined ? 'an unknown place' : shownFrame(frame);
}

const shownFrame = ({ file, line }: Frame): string => `${relativePath(file)}:${line}`;

const framesIn = (stack: string): readonly Frame[] =>
  stack.split('\n').flatMap((text) => {
    if (!/^\s+at /.test(text) || text.includes('node:internal')) return [];
    const place = /\(?((?:file:\/\/)?[^()]+?):(\d+):\d+\)?$/.exec(text.replace(/^\s+at (async )?/, ''));
    return place === null ? [] : [{ file: place[1] ?? '', line: place[2] ?? '' }];
  });

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
