/**
 * A digest of rows: their number and a hash of their lines, for each container and in total. Equal
 * rows in equal order have equal digests, whichever provider they come from. Web Crypto hashes
 * whole texts only, so lines are joined to blocks, and each block is hashed together with the hash
 * of the blocks before it. Memory is one block.
 */
import { rowLine } from '../core/port/row-line.js';
import type { RawRow } from '../core/port/storage-provider.js';

/** Rows of one container, `state:state` or `event:order`. */
export interface ContainerDigest {
  readonly container: string;
  readonly rows: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}
export interface RowsDigest {
  readonly rows: number;
  readonly sha256: string;
  /** In order. */
  readonly containers: readonly ContainerDigest[];
}

/** A block ends with the line that reaches this length, so its end depends on the lines alone. */
const blockLength = 64 * 1_024;

/** Add rows in the order of an export. */
export class RowDigest {
  readonly #containers: ContainerDigest[] = [];
  #container: string | undefined;
  #rows = 0;
  #chain = new ChainedHash();

  async add(raw: RawRow, line = rowLine(raw)): Promise<void> {
    if (raw.container !== this.#container) {
      await this.#close();
      this.#container = raw.container;
    }
    this.#rows += 1;
    if (this.#chain.add(line)) await this.#chain.hashBlock();
  }

  async end(): Promise<RowsDigest> {
    await this.#close();
    const rows = this.#containers.reduce((sum, each) => sum + each.rows, 0);
    return {
      rows,
      sha256: await hashOfLines(this.#containers.map((each) => JSON.stringify(each))),
      containers: this.#containers,
    };
  }

  async #close(): Promise<void> {
    if (this.#container === undefined) return;
    this.#containers.push({ container: this.#container, rows: this.#rows, sha256: await this.#chain.end() });
    this.#rows = 0;
    this.#chain = new ChainedHash();
  }
}

class ChainedHash {
  #hash: Uint8Array = new Uint8Array(32);
  #block = '';

  /** Returns whether the block is full. */
  add(line: string): boolean {
    this.#block += `${line}\n`;
    return this.#block.length >= blockLength;
  }

  async hashBlock(): Promise<void> {
    const text = new TextEncoder().encode(this.#block);
    const bytes = new Uint8Array(this.#hash.length + text.length);
    bytes.set(this.#hash);
    bytes.set(text, this.#hash.length);
    this.#block = '';
    this.#hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  }

  async end(): Promise<string> {
    if (this.#block !== '') await this.hashBlock();
    return Array.from(this.#hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

/** One hash of several databases, in order. */
export async function hashOfDatabases(
  databases: readonly (Pick<RowsDigest, 'rows' | 'sha256'> & { readonly database: string })[],
): Promise<string> {
  return await hashOfLines(
    databases.map(({ database, rows, sha256 }) => JSON.stringify({ database, rows, sha256 })),
  );
}

async function hashOfLines(lines: readonly string[]): Promise<string> {
  const chain = new ChainedHash();
  for (const line of lines) if (chain.add(line)) await chain.hashBlock();
  return await chain.end();
}
