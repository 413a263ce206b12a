/**
 * The possible states of a file or a directory after a power cut: for each page, the size and each
 * entry separately, the last synced state or any later one. The model is described in
 * `simulated-disk.ts`.
 */
import type { Random } from './seeded-random.js';

export const pageBytes = 4_096;
export const sectorBytes = 512;

/**
 * The odds that a power cut keeps unsynced data. They are drawn once per cut, so that the extremes
 * occur often: most bugs appear there.
 */
export interface CutOdds {
  readonly keepsPage: number;
  readonly keepsSize: number;
  readonly keepsEntry: number;
  readonly tears: number;
}

const likelihoods = [0, 0, 0.1, 0.5, 0.9, 1, 1] as const;
export const drawOdds = (random: Random): CutOdds => ({
  keepsPage: random.pick(likelihoods),
  keepsSize: random.pick(likelihoods),
  keepsEntry: random.pick(likelihoods),
  tears: random.pick([0, 0.5, 1]),
});

/** Marks whether a call has resolved: a sync covers only calls that resolved before it began. */
export interface Ticket {
  resolved: boolean;
}

interface Candidate<T> {
  readonly value: T;
  readonly ticket: Ticket;
}

/**
 * A value with its history: the state on disk, and later states. A failed sync leaves it clean and
 * uncertain: no later sync writes it.
 */
export class Versioned<T> {
  #durable: T;
  #since: Candidate<T>[] = [];
  #dirty = false;

  constructor(durable: T) {
    this.#durable = durable;
  }

  get current(): T {
    return this.#since.at(-1)?.value ?? this.#durable;
  }

  get uncertain(): boolean {
    return this.#since.length > 0;
  }

  set(value: T, ticket: Ticket): void {
    this.#since.push({ value, ticket });
    this.#dirty = true;
  }

  /** Begins a sync. The returned function ends it. */
  sync(): (succeeded: boolean) => void {
    const covered = this.#dirty ? this.#since.findLast(({ ticket }) => ticket.resolved) : undefined;
    if (covered === undefined) return () => undefined;
    return (succeeded) => {
      const index = this.#since.indexOf(covered);
      if (index < 0) return; // another sync has ended first
      if (succeeded) {
        this.#durable = covered.value;
        this.#since = this.#since.slice(index + 1);
        this.#dirty = this.#since.length > 0;
      } else if (index === this.#since.length - 1) this.#dirty = false;
    };
  }

  /** One of the possible values on disk, or a mix of two of them. */
  afterCut(random: Random, keeps: number, mix?: (one: T, other: T) => T): T {
    if (this.#since.length === 0) return this.#durable;
    const values = [this.#durable, ...this.#since.map(({ value }) => value)];
    const one = random.chance(keeps)
      ? random.chance(0.7)
        ? this.current
        : random.pick(values)
      : this.#durable;
    return mix === undefined ? one : mix(one, random.pick(values));
  }
}

/**
 * The content of a file, page by page. Pages are never changed in place, because copies of the disk
 * share them.
 */
export class FileNode {
  readonly #pages = new Map<number, Versioned<Uint8Array>>();
  readonly #size: Versioned<number>;

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.#size = new Versioned(bytes.length);
    for (let page = 0; page * pageBytes < bytes.length; page += 1) {
      const content = new Uint8Array(pageBytes);
      content.set(bytes.subarray(page * pageBytes, (page + 1) * pageBytes));
      this.#pages.set(page, new Versioned(content));
    }
  }

  get size(): number {
    return this.#size.current;
  }

  get uncertain(): boolean {
    return this.#size.uncertain || [...this.#pages.values()].some((page) => page.uncertain);
  }

  bytes(): Uint8Array {
    return this.#assemble(this.size, (page) => page.current);
  }

  read(into: Uint8Array, position: number): number {
    const part = this.bytes().subarray(position, position + into.length);
    into.set(part);
    return part.length;
  }

  write(bytes: Uint8Array, position: number, ticket: Ticket): void {
    for (let at = position; at < position + bytes.length;) {
      const page = Math.floor(at / pageBytes);
      const end = Math.min((page + 1) * pageBytes, position + bytes.length);
      this.#change(page, ticket, (content) =>
        content.set(bytes.subarray(at - position, end - position), at - page * pageBytes),
      );
      at = end;
    }
    if (position + bytes.length > this.size) this.#size.set(position + bytes.length, ticket);
  }

  truncate(length: number, ticket: Ticket): void {
    for (const page of this.#pages.keys()) {
      if ((page + 1) * pageBytes > length)
        this.#change(page, ticket, (content) => content.fill(0, Math.max(0, length - page * pageBytes)));
    }
    this.#size.set(length, ticket);
  }

  sync(): (succeeded: boolean) => void {
    const ends = [this.#size.sync(), ...[...this.#pages.values()].map((page) => page.sync())];
    return (succeeded) => ends.forEach((end) => end(succeeded));
  }

  /** The file after a power cut. */
  afterCut(random: Random, odds: CutOdds): FileNode {
    const size = this.#size.afterCut(random, odds.keepsSize);
    const torn = (one: Uint8Array, other: Uint8Array): Uint8Array =>
      random.chance(odds.tears) ? tear(one, other, random) : one;
    return new FileNode(this.#assemble(size, (page) => page.afterCut(random, odds.keepsPage, torn)));
  }

  #assemble(size: number, contentOf: (page: Versioned<Uint8Array>) => Uint8Array): Uint8Array {
    const bytes = new Uint8Array(size);
    for (const [number, page] of this.#pages) {
      const content = contentOf(page);
      if (number * pageBytes < size)
        bytes.set(content.subarray(0, size - number * pageBytes), number * pageBytes);
    }
    return bytes;
  }

  #change(number: number, ticket: Ticket, change: (content: Uint8Array) => void): void {
    const page = this.#pages.get(number) ?? new Versioned(new Uint8Array(pageBytes));
    const content = page.current.slice();
    change(content);
    page.set(content, ticket);
    this.#pages.set(number, page);
  }
}

/** A page with its first sectors from one write and the rest from another. */
function tear(one: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  const boundary = random.below(pageBytes / sectorBytes + 1) * sectorBytes;
  const torn = one.slice();
  torn.set(other.subarray(boundary), boundary);
  return torn;
}

export type Node = FileNode | DirectoryNode;
type Entries = Map<string, Node>;

interface EntryChange {
  readonly number: number;
  readonly names: readonly string[];
  readonly apply: (entries: Entries) => void;
  readonly ticket: Ticket;
  /** A failed sync covered it, so later syncs skip it. */
  skipped: boolean;
}

/**
 * The entries of a directory. For each name the last kept change decides, so replaying a subset in
 * order covers all orders.
 */
export class DirectoryNode {
  readonly #durable: Entries;
  readonly entries: Entries;
  #since: EntryChange[] = [];
  #changes = 0;
  /** The last synced change of each name. No earlier change of that name can come back. */
  readonly #settled = new Map<string, number>();

  constructor(entries: Entries = new Map()) {
    this.#durable = new Map(entries);
    this.entries = new Map(entries);
  }

  get uncertain(): boolean {
    return this.#since.length > 0;
  }

  add(name: string, node: Node, ticket: Ticket): void {
    this.#change([name], ticket, (entries) => entries.set(name, node));
  }

  remove(name: string, ticket: Ticket): void {
    this.#change([name], ticket, (entries) => entries.delete(name));
  }

  rename(from: string, to: string, ticket: Ticket): void {
    const node = this.entries.get(from) as Node;
    this.#change([from, to], ticket, (entries) => {
      if (entries.get(from) === node) entries.delete(from);
      entries.set(to, node);
    });
  }

  sync(): (succeeded: boolean) => void {
    const covered = this.#since.filter(({ ticket, skipped }) => ticket.resolved && !skipped);
    return (succeeded) => {
      for (const change of covered) {
        if (!this.#since.includes(change)) continue; // another sync has ended first
        if (!succeeded) change.skipped = true;
        else this.#settle(change);
      }
    };
  }

  afterCut(random: Random, odds: CutOdds): DirectoryNode {
    const entries = new Map(this.#durable);
    for (const change of this.#since) if (random.chance(odds.keepsEntry)) this.#applyLate(change, entries);
    return new DirectoryNode(
      new Map([...entries].map(([name, node]) => [name, node.afterCut(random, odds)])),
    );
  }

  #change(names: readonly string[], ticket: Ticket, apply: (entries: Entries) => void): void {
    apply(this.entries);
    this.#since.push({ number: (this.#changes += 1), names, apply, ticket, skipped: false });
  }

  /** Marks a change as synced, together with uncertain earlier changes of the same names. */
  #settle(change: EntryChange): void {
    change.apply(this.#durable);
    for (const name of change.names)
      this.#settled.set(name, Math.max(change.number, this.#settled.get(name) ?? 0));
    const index = this.#since.indexOf(change);
    this.#since = this.#since.filter(
      (other, at) =>
        other !== change && !(at < index && other.names.every((name) => change.names.includes(name))),
    );
  }

  /**
   * Applies an unsynced change that was kept. Names with a later synced change stay as they are.
   */
  #applyLate(change: EntryChange, entries: Entries): void {
    const before = new Map(entries);
    change.apply(entries);
    for (const name of change.names) {
      if ((this.#settled.get(name) ?? 0) < change.number) continue;
      const node = before.get(name);
      if (node === undefined) entries.delete(name);
      else entries.set(name, node);
    }
  }
}
