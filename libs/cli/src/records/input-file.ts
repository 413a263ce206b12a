/** The bytes of a file, or of stdin. */
import { open } from 'node:fs/promises';
import { messageOf } from '@kvent/key-value-storage/internal';
import { UsageError } from '../input/usage-error.js';

interface Input extends AsyncDisposable {
  readonly bytes: AsyncIterable<Buffer>;
}

/** `UsageError` for a file that cannot be opened. Without a file, or for `-`, it is stdin. */
export async function openInput(file: string | undefined): Promise<Input> {
  if (file === undefined || file === '-')
    return { bytes: process.stdin, [Symbol.asyncDispose]: async () => void process.stdin.destroy() };
  try {
    const handle = await open(file);
    if ((await handle.stat()).isDirectory()) {
      await handle.close();
      throw new Error('it is a directory');
    }
    const stream = handle.createReadStream({ highWaterMark: 256 * 1_024 });
    return { bytes: stream, [Symbol.asyncDispose]: async () => void stream.destroy() };
  } catch (error) {
    throw new UsageError(`The file ${file} cannot be read: ${messageOf(error)}.`, error);
  }
}
