/**
 * A journal that this process writes. It is always a new file: a process never appends to a journal
 * that it did not create. The descriptor may be closed (suspended) while nothing is written.
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
  /** `undefined` while it is suspended. */
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
   * Creates it with its first line on disk; its name is on disk once the directory is synced. After
   * a failure the file is removed if possible.
   */
  static async create(
    fileSystem: FileSystem,
    directory: string,
    header: Parameters<typeof headerLine>[0],
  ): Promise<JournalFile> {
    const path = join(directory, journalName(header.generation));
    const line = headerLine(header, randomBytes(8).toString('hex'));
    const file = await fileSystem.open(path, 'create');
    const journal = new JournalFile(path, header.generation, file, line);
    try {
      await journal.#write(`${line}\n`);
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

  /** Call it when its directory was renamed. */
  movedTo(directory: string): void {
    this.#path = join(directory, journalName(this.generation));
  }

  get bytes(): number {
    return this.#position;
  }

  /** Seals lines and appends them with one write. They are on disk after `sync`. */
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

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /**
   * Resumes it. The file must be exactly what this process wrote: another owner may have replaced
   * it.
   */
  async reopen(fileSystem: FileSystem): Promise<void> {
    const file = await fileSystem.open(this.path, 'write');
    try {
      const header = Buffer.alloc(Buffer.byteLength(this.#header));
      for (let length = 0, count = 1; length < header.length && count > 0; length += count) {
        count = await file.read(header.subarray(length), length);
      }
      if (header.toString() !== this.#header || (await file.size()) !== this.#position)
        throw new Error(`${this.path} was changed by another process`);
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

  /** Removes a journal without commits. */
  async discard(fileSystem: FileSystem): Promise<void> {
    await this.close().catch(() => undefined);
    await fileSystem.remove(this.path).catch(() => undefined);
  }
}
