/** A journal being written. It is always a new file: one that this process did not create is never appended to. */
import { join } from 'node:path';
import { synced } from './disk-errors.js';
import type { FileSystem, OpenFile } from './file-system.js';
import { format, journalLine } from './journal-line.js';
import { journalName } from './layout.js';
import { writeAll } from './line-reader.js';

export class JournalFile {
  readonly generation: number;
  readonly path: string;
  readonly #file: OpenFile;
  #position = 0;

  private constructor(path: string, generation: number, file: OpenFile) {
    this.path = path;
    this.generation = generation;
    this.#file = file;
  }

  /** With its first line on disk. Its name is, once the directory is synced. What a failure leaves behind is taken away as far as possible. */
  static async create(fileSystem: FileSystem, directory: string, database: string, generation: number): Promise<JournalFile> {
    const path = join(directory, journalName(generation));
    const journal = new JournalFile(path, generation, await fileSystem.open(path, 'create'));
    try {
      await journal.append(journalLine({ kind: 'header', format, database, generation }));
      await journal.sync();
      return journal;
    } catch (error) {
      await journal.discard(fileSystem);
      throw error;
    }
  }

  get bytes(): number {
    return this.#position;
  }

  async append(lines: Uint8Array): Promise<void> {
    await writeAll(this.#file, lines, this.#position);
    this.#position += lines.length;
  }

  async sync(): Promise<void> {
    await synced(this.path, this.#file.sync());
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Takes away a journal that holds no commit. */
  async discard(fileSystem: FileSystem): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await fileSystem.remove(this.path).catch(() => undefined);
  }
}
