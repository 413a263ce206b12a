/**
 * The lines of a file, zipped or not, as bytes: a line of JSON may hold whatever else other readers
 * take for the end of a line.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { limits } from '@kvent/key-value-storage/core';

const lineFeed = 0x0a;
/**
 * Not to wait: to open a FIFO for reading waits until somebody writes to it. Windows knows neither.
 */
const { O_RDONLY = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>;

/** A line is longer than any that `kvent` writes. */
export class LineTooLong extends Error {}

/** A directory, a FIFO, a socket or a device. */
export class NotPlainFile extends Error {}

/**
 * Without their line feeds. What stands behind the last one comes too, as a line of its own.
 * Rejects as the disk or the unzipper does, with `NotPlainFile` at once where it is none, and with
 * `LineTooLong` as soon as a line has more than `limits.backupLineBytesMax` bytes: a small zipped
 * file may hold a line of any length.
 */
export async function* linesOf(path: string): AsyncGenerator<Buffer, undefined> {
  let rest: Buffer[] = [];
  let held = 0;
  for await (const chunk of await bytesOf(path)) {
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

async function bytesOf(path: string): Promise<AsyncIterable<Buffer>> {
  const handle = await open(path, O_RDONLY | O_NONBLOCK);
  let zipped: boolean;
  try {
    if (!(await handle.stat()).isFile()) throw new NotPlainFile();
    zipped = await beginsZipped(handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
  const file = handle.createReadStream({ start: 0, highWaterMark: 256 * 1_024 });
  if (!zipped) return file as AsyncIterable<Buffer>;
  // what goes wrong is told to whoever reads the last of them
  return pipeline(file, createGunzip(), () => undefined) as AsyncIterable<Buffer>;
}

/** By its first two bytes, whatever it is called. */
async function beginsZipped(handle: FileHandle): Promise<boolean> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}
