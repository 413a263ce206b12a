/** Reads a file line by line, with one chunk in memory. */
import { limits } from '../../../core/base/limits.js';
import type { OpenFile } from './file-system.js';

const chunkBytes = 256 * 1_024;
const lineFeed = 10;

/** `ended`: whether a line feed follows. `bytes` is valid until the call returns. */
type OnLine = (bytes: Buffer, number: number, ended: boolean) => void;

/**
 * Calls `onLine` for each line, numbered from 1; returns the bytes read. Data after the last line
 * feed is a line, too. A line that is longer than any line of this library
 * (`limits.journalLineBytesMax`) is cut, so that memory stays bounded: its first bytes are passed
 * with `ended` false, and no checksum fits them.
 */
export async function readLines(
  file: OpenFile,
  onLine: OnLine,
  bytesMax: number = limits.journalLineBytesMax,
): Promise<number> {
  let buffer = Buffer.allocUnsafe(Math.min(chunkBytes, bytesMax));
  let held = 0;
  let position = 0;
  let number = 0;
  /** Inside a line whose first bytes were passed already. */
  let skipping = false;
  for (;;) {
    if (held === buffer.length && held < bytesMax)
      buffer = Buffer.concat([buffer], Math.min(buffer.length * 2, bytesMax));
    else if (held === buffer.length) {
      onLine(buffer, (number += 1), false);
      skipping = true;
      held = 0;
    }
    const count = await file.read(buffer.subarray(held), position);
    if (count === 0) break;
    position += count;
    const filled = held + count;
    let start = 0;
    let end = buffer.subarray(0, filled).indexOf(lineFeed, held);
    for (; end >= 0; end = buffer.subarray(0, filled).indexOf(lineFeed, start)) {
      if (!skipping) onLine(buffer.subarray(start, end), (number += 1), true);
      skipping = false;
      start = end + 1;
    }
    held = skipping ? 0 : filled - start;
    if (held > 0) buffer.copyWithin(0, start, filled);
  }
  if (held > 0) onLine(buffer.subarray(0, held), number + 1, false);
  return position;
}

/** The content of a small file. */
export async function readWhole(file: OpenFile, bytesMax = 65_536): Promise<Buffer> {
  const buffer = Buffer.alloc(bytesMax);
  let length = 0;
  for (let count = 1; count > 0 && length < bytesMax; length += count)
    count = await file.read(buffer.subarray(length), length);
  return buffer.subarray(0, length);
}

/**
 * Writes the bytes, however few each call takes, and returns how many were written: at least the
 * first `least` of them, by default all.
 */
export async function writeAll(
  file: OpenFile,
  bytes: Uint8Array,
  position: number,
  least: number = bytes.length,
): Promise<number> {
  let done = 0;
  while (done < least) {
    const count = await file.write(done === 0 ? bytes : bytes.subarray(done), position + done);
    if (count === 0) throw Object.assign(new Error('EIO: the disk wrote no bytes'), { code: 'EIO' });
    done += count;
  }
  return done;
}
