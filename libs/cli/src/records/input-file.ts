/** The bytes of a file, or of stdin. */
import { close, createReadStream, fstat, open } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { isatty, ReadStream } from 'node:tty';
import { promisify } from 'node:util';
import { messageOf } from '@kvent/key-value-storage/internal';
import { readingFlags } from '../input/reading-flags.js';
import { UsageError } from '../input/usage-error.js';

interface Input extends AsyncDisposable {
  readonly bytes: AsyncIterable<Buffer>;
}

/**
 * `UsageError` for a file that cannot be opened. Without a file, or for `-`, it is stdin. A FIFO,
 * such as `<(zcat products.gz)`, is read until its last writer has closed it.
 */
export async function openInput(file: string | undefined): Promise<Input> {
  if (file === undefined || file === '-') return inputOf(process.stdin);
  try {
    return inputOf(await openFile(file));
  } catch (error) {
    throw new UsageError(`The file ${file} cannot be read: ${messageOf(error)}.`, error);
  }
}

const inputOf = (bytes: Readable): Input => ({
  bytes,
  [Symbol.asyncDispose]: async () => void bytes.destroy(),
});

async function openFile(file: string): Promise<Readable> {
  const descriptor = await promisify(open)(file, readingFlags);
  try {
    return await streamOf(descriptor, file);
  } catch (error) {
    await promisify(close)(descriptor);
    throw error;
  }
}

/** What may never have data is polled: a thread that reads it could not be ended. */
async function streamOf(fd: number, file: string): Promise<Readable> {
  const stats = await promisify(fstat)(fd);
  if (stats.isDirectory()) throw new Error('it is a directory');
  if (isatty(fd)) return new ReadStream(fd);
  if (stats.isFIFO()) return new Socket({ fd, readable: true, writable: false });
  return createReadStream(file, { fd, highWaterMark: 256 * 1_024 });
}
