/**
 * A journal being written. It is always a new file: one that this process did not create is never
 * appended to. Its descriptor may be closed while nothing is written.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { synced } from '../disk/disk-errors.js';
import type { FileSystem, OpenFile } from '../disk/file-system.js';
import { headerLine, seedOf } from '../format/journal-line.js';
import { journalName } from '../format/layout.js';
import { writeAll } from '../disk/line-reader.js';
import { seal } from '../format/sealed-line.js';

export class JournalFile {
  readonly generation: number;
  #path: string;
  readonly #header: string;
  readonly #seed: number;
  /** None while it rests. */
  #file: OpenFile | undefined;
  #position = 0;

  private constructor(path: string, generation: number, file: OpenFile, header: string) {
    this.#path = path;
    this.generation = generation;
    this.#file = file;
    this.#header = header;
    this.#seed = seedOf(header);
  }

  /**
   * With its first line on disk. Its name is, once the directory is synced. What a failure leaves
   * behind is taken away as far as possible.
   */
  static async create(
    fileSystem: FileSystem,
    directory: string,
    begin: Parameters<typeof headerLine>[0],
  ): Promise<JournalFile> {
    const { generation } = begin;
    const path = join(directory, journalName(generation));
    const header = headerLine(begin, randomBytes(8).toString('hex'));
    const journal = new JournalFile(path, generation, await fileSystem.open(path, 'create'), header);
    try {
      await journal.#write(`${header}\n`);
      await journal.sync();
      return journal;
    } catch (error) {
      await journal.discard(fileSystem);
      throw error;
    }
  }

  get path(): string {
    return this.#path;
  }

  /** Its directory was renamed to this. */
  movedTo(directory: string): void {
    this.#path = join(directory, journalName(this.generation));
  }

  get bytes(): number {
    return this.#position;
  }

  /**
   * Seals lines and writes them behind what is there, with one write. They are on disk once it is
   * synced.
   */
  async append(bodies: readonly string[]): Promise<void> {
    let lines = '';
    for (const body of bodies) lines += `${seal(body, this.#seed)}\n`;
    await this.#write(lines);
  }

  async #write(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    await writeAll(this.#opened(), bytes, this.#position);
    this.#position += bytes.length;
  }

  async sync(): Promise<void> {
    await synced(this.path, this.#opened().sync());
  }

  get isOpen(): boolean {
    return this.#file !== undefined;
  }

  /** Closes the descriptor. What was synced stays. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /**
   * Opens it again to go on. What is at the path must be what this process wrote: a successor may
   * have dropped it and made another.
   */
  async reopen(fileSystem: FileSystem): Promise<void> {
    const file = await fileSystem.open(this.path, 'write');
    try {
      const header = Buffer.alloc(Buffer.byteLength(this.#header));
      for (let length = 0, count = 1; length < header.length && count > 0; length += count) {
        count = await file.read(header.subarray(length), length);
      }
      if (header.toString() !== this.#header || (await file.size()) !== this.#position)
        throw new Error(`${this.path} is not as this process left it`);
      this.#file = file;
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  #opened(): OpenFile {
    if (this.#file === undefined) throw new Error(`${this.path} is not open`);
    return this.#file;
  }

  /** Takes away a journal that holds no commit. */
  async discard(fileSystem: FileSystem): Promise<void> {
    await this.close().catch(() => undefined);
    await fileSystem.remove(this.path).catch(() => undefined);
  }
}
