/** A journal being written. It is always a new file: one that this process did not create is never appended to. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { synced } from './disk-errors.js';
import type { FileSystem, OpenFile } from './file-system.js';
import { headerLine, seedOf } from './journal-line.js';
import { journalName } from './layout.js';
import { writeAll } from './line-reader.js';
import { seal } from './sealed-line.js';

export class JournalFile {
  readonly generation: number;
  readonly path: string;
  readonly #file: OpenFile;
  readonly #seed: number;
  #position = 0;

  private constructor(path: string, generation: number, file: OpenFile, seed: number) {
    this.path = path;
    this.generation = generation;
    this.#file = file;
    this.#seed = seed;
  }

  /** With its first line on disk. Its name is, once the directory is synced. What a failure leaves behind is taken away as far as possible. */
  static async create(fileSystem: FileSystem, directory: string, begin: Parameters<typeof headerLine>[0]): Promise<JournalFile> {
    const { generation } = begin;
    const path = join(directory, journalName(generation));
    const header = headerLine(begin, randomBytes(8).toString('hex'));
    const journal = new JournalFile(path, generation, await fileSystem.open(path, 'create'), seedOf(header));
    try {
      await journal.#write(`${header}\n`);
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

  /** Seals lines and writes them behind what is there, with one write. They are on disk once it is synced. */
  async append(bodies: readonly string[]): Promise<void> {
    let lines = '';
    for (const body of bodies) lines += `${seal(body, this.#seed)}\n`;
    await this.#write(lines);
  }

  async #write(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    await writeAll(this.#file, bytes, this.#position);
    this.#position += bytes.length;
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
