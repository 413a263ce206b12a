import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The call site of `callee` as `file:line`, for errors of the start-up. */
export function callSite(callee: (...given: never[]) => unknown): string {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, callee);
  const frame = holder.stack
    ?.split('\n')
    .find((line) => /^\s+at /.test(line) && !line.includes('node:internal'));
  const place =
    frame && /\(?((?:file:\/\/)?[^()]+?):(\d+):\d+\)?$/.exec(frame.replace(/^\s+at (async )?/, ''));
  if (!place) return 'an unknown place';
  const [, file = '', line = ''] = place;
  return `${relative(process.cwd(), file.startsWith('file://') ? fileURLToPath(file) : file)}:${line}`;
}
