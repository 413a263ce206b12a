/**
 * The records that an import refuses: their number, the first ones, and all of them in a file, as
 * JSON lines. Memory does not grow with their number.
 */
import { open, rm, type FileHandle } from 'node:fs/promises';
import { isError, messageOf } from '@kvent/key-value-storage/internal';
import { storageError } from '@kvent/key-value-storage/internal/rows';
import { assertTargetFile } from '../input/assert-target-file.js';
import { UsageError } from '../input/usage-error.js';

interface RecordFailure {
  /** `undefined` where too many lines were read since. */
  readonly line: number | undefined;
  readonly message: string;
}

const firstMax = 100;
const chunkLength = 64 * 1_024;

export class RefusedRecords implements AsyncDisposable {
  /** The first ones, by their lines. */
  readonly first: RecordFailure[] = [];
  count = 0;
  readonly #path: string | undefined;
  readonly #file: FileHandle | undefined;
  readonly #clean: (text: string) => string;
  #unwritten = '';
  #isWritten = false;

  private constructor(
    path: string | undefined,
    file: FileHandle | undefined,
    clean: (text: string) => string,
  ) {
    this.#path = path;
    this.#file = file;
    this.#clean = clean;
  }

  /**
   * `path`: of a new file; `UsageError` for one that exists. `clean`: hides passwords in a message.
   */
  static async open(path: string | undefined, clean: (text: string) => string): Promise<RefusedRecords> {
    if (path === undefined) return new RefusedRecords(path, undefined, clean);
    assertTargetFile(path, { replace: true });
    const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
      if (isError(error) && (error as NodeJS.ErrnoException).code === 'EEXIST')
        throw new UsageError(`${path} exists: --failures takes the name of a new file.`, error);
      throw notWritten(path, error);
    });
    return new RefusedRecords(path, file, clean);
  }

  /** Await `written` from time to time. */
  add(line: number | undefined, message: string): void {
    this.count += 1;
    const at = this.first.findLastIndex((other) => (other.line ?? 0) <= (line ?? 0)) + 1;
    if (at < firstMax) this.first.splice(at, 0, { line, message });
    if (this.first.length > firstMax) this.first.pop();
    if (this.#file === undefined) return;
    this.#unwritten += `${JSON.stringify({ line, message: this.#clean(message) })}\n`;
  }

  /** Resolves when only few of them are in memory. */
  async written(): Promise<void> {
    if (this.#unwritten.length < chunkLength) return;
    await this.#write().catch((error: unknown) => {
      throw notWritten(this.#path ?? '', error);
    });
  }

  /** The file is on disk then; without a refused record there is none. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#file === undefined || this.#path === undefined) return;
    try {
      await this.#write();
      await this.#file.sync();
    } catch (error) {
      throw notWritten(this.#path, error);
    } finally {
      await this.#file.close();
      if (!this.#isWritten) await rm(this.#path, { force: true });
    }
  }

  async #write(): Promise<void> {
    if (this.#unwritten === '') return;
    const text = this.#unwritten;
    this.#unwritten = '';
    this.#isWritten = true;
    await this.#file?.appendFile(text);
  }
}

const notWritten = (path: string, error: unknown): Error =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${path} cannot be written: ${messageOf(error)}.`,
    {},
    { cause: error },
  );
