/**
 * A journal that this process writes. It is always a new file: a process never appends to a journal
 * that it did not create. The descriptor may be closed (suspended) while nothing is written.
 *
 * A long journal is written ahead with blanks: the lines of most commits then replace blanks that
 * are on disk, and the sync need not write a new length. The last line of a closed journal cuts
 * them off.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { codeOf, SyncFailure } from '../disk/disk-errors.js';
import type { FileSystem, OpenFile, WriteAhead } from '../disk/file-system.js';
import type { CommitLines } from '../format/commit-lines.js';
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
  readonly #ahead: WriteAhead;
  /** Where the next line is written. */
  #position = 0;
  /** The length of the file, blanks included. */
  #size = 0;

  private constructor(path: string, generation: number, file: OpenFile, header: string, ahead: WriteAhead) {
    this.#ahead = ahead;
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
    const file = await fileSystem.open(path, 'create-synced');
    const journal = new JournalFile(path, header.generation, file, line, fileSystem.writeAhead);
    try {
      await journal.#write(Buffer.from(`${line}\n`));
      return journal;
    } catch (error) {
      await journal.discard(fileSystem);
      // a write that failed for another reason than a full disk may be a sync that failed
      throw isFull(error) ? error : new SyncFailure(path, error);
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

  /** Appends the lines of commits. They are on disk when it resolves. */
  async append(lines: CommitLines): Promise<void> {
    const { length } = lines;
    const end = this.#position + length;
    const blanks = end > this.#size ? this.#blanksAfter(length) : 0;
    const bytes = lines.sealed(this.#seed, blanks);
    const written = await (blanks === 0
      ? writeAll(this.#opened(), bytes, this.#position)
      : this.#writeAhead(bytes, length));
    this.#size = Math.max(this.#size, this.#position + written);
    this.#position = end;
  }

  /** Appends a line without rows. It is on disk when it resolves. */
  async appendLine(body: string): Promise<void> {
    await this.#write(this.#sealed(body));
  }

  /** Appends a line after which nothing is expected: the blanks are cut off. */
  async appendLast(body: string): Promise<void> {
    if (this.#size > this.#position) {
      await this.#opened().truncate(this.#position);
      this.#size = this.#position;
    }
    await this.#write(this.#sealed(body));
  }

  #sealed(body: string): Buffer {
    return Buffer.from(`${seal(body, this.#seed)}\n`);
  }

  async #write(line: Buffer): Promise<void> {
    await writeAll(this.#opened(), line, this.#position);
    this.#position += line.length;
    this.#size = Math.max(this.#size, this.#position);
  }

  /**
   * Writes the lines and, if the disk has room, the blanks after them. A disk that is nearly full
   * takes fewer of them, or refuses the whole write: then the lines are written alone.
   */
  async #writeAhead(bytes: Buffer, length: number): Promise<number> {
    const file = this.#opened();
    try {
      return await writeAll(file, bytes, this.#position, length);
    } catch (error) {
      if (!isFull(error)) throw error;
      return await writeAll(file, bytes.subarray(0, length), this.#position);
    }
  }

  /** None behind as many bytes or more: the next group would not fit into them. */
  #blanksAfter(length: number): number {
    const { fromBytes, bytesMax } = this.#ahead;
    const end = this.#position + length;
    return end < fromBytes || length >= bytesMax ? 0 : Math.min(end, bytesMax);
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
    const file = await fileSystem.open(this.path, 'write-synced');
    try {
      const header = Buffer.alloc(Buffer.byteLength(this.#header));
      for (let length = 0, count = 1; length < header.length && count > 0; length += count) {
        count = await file.read(header.subarray(length), length);
      }
      if (header.toString() !== this.#header || (await file.size()) !== this.#size)
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

const isFull = (error: unknown): boolean => ['ENOSPC', 'EDQUOT'].includes(codeOf(error) ?? '');
