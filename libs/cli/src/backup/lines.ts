/**
 * The lines of a file, compressed or not, as bytes. Only a line feed ends a line: JSON may contain
 * other characters that readers of text treat as line breaks.
 */
import type { ReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { limits } from '@kvent/key-value-storage/core';
import { openPlainFile } from '../input/plain-file.js';

const lineFeed = 0x0a;

/** A line that is longer than any line of a backup. */
export class LineTooLong extends Error {}

/**
 * Yields lines without their line feeds; data after the last line feed is a line, too. Rejects with
 * errors of the disk and of gunzip, with `NotPlainFile`, and with `LineTooLong` as soon as a line
 * has more than `limits.backupLineBytesMax` bytes: a small compressed file may contain a line of
 * any length. The file is closed when the last line was read, and when the reader stops or fails.
 */
export async function* linesOf(path: string): AsyncGenerator<Buffer, undefined> {
  const { file, compressed } = await openFile(path);
  try {
    // errors reach the reader of the last stream
    return yield* linesIn(compressed ? pipeline(file, createGunzip(), () => undefined) : file);
  } finally {
    await closed(file);
  }
}

async function* linesIn(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer, undefined> {
  let rest: Buffer[] = [];
  let held = 0;
  for await (const chunk of bytes) {
    let begin = 0;
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, begin)) {
      const line = chunk.subarray(begin, end);
      assertLength(held + line.length);
      yield rest.length === 0 ? line : Buffer.concat([...rest, line]);
      rest = [];
      held = 0;
      begin = end + 1;
    }
    if (begin < chunk.length) rest.push(chunk.subarray(begin));
    held += chunk.length - begin;
    assertLength(held);
  }
  if (rest.length > 0) yield Buffer.concat(rest);
  return undefined;
}

function assertLength(bytes: number): void {
  const { backupLineBytesMax } = limits;
  if (bytes > backupLineBytesMax)
    throw new LineTooLong(`the line is over the limit backupLineBytesMax of ${backupLineBytesMax} bytes`);
}

async function openFile(path: string): Promise<{ readonly file: ReadStream; readonly compressed: boolean }> {
  const handle = await openPlainFile(path);
  try {
    const compressed = await startsCompressed(handle);
    return { file: handle.createReadStream({ start: 0, highWaterMark: 256 * 1_024 }), compressed };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Resolves when the descriptor of the file is closed. */
async function closed(file: ReadStream): Promise<void> {
  if (file.closed) return;
  await new Promise<void>((resolve) => file.once('close', resolve).destroy());
}

/** By its first two bytes, not by its name. */
async function startsCompressed(handle: FileHandle): Promise<boolean> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}
