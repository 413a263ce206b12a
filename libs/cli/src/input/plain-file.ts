/** Files that must be plain: not a directory, a FIFO, a socket or a device. */
import { open, type FileHandle } from 'node:fs/promises';
import { readingFlags } from './reading-flags.js';

export class NotPlainFile extends Error {}

/** `NotPlainFile`, without waiting for anything. */
export async function openPlainFile(path: string): Promise<FileHandle> {
  const handle = await open(path, readingFlags);
  try {
    if ((await handle.stat()).isFile()) return handle;
    throw new NotPlainFile();
  } catch (error) {
    await handle.close();
    throw error;
  }
}
