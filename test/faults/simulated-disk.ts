/**
 * A disk in memory that fails like a real one. THE FAULT MODEL:
 *
 * - **The cache forgets.** A write is visible to every process at once, but on disk only when
 *   `sync` has resolved. After a power cut, each 4 KiB page of a file holds what was last synced or
 *   anything written since, independently of all other pages and of the file's size: data may be
 *   kept and the size not, and the reverse (zeros). A page may be torn at a sector boundary (512
 *   bytes) between two of its contents.
 * - **Names are forgotten too.** Creations, renames and removals are on disk only once
 *   `syncDirectory` of their directory resolved; any subset of the others is kept. A rename is one
 *   change: never half. Syncing a file does not keep its name, syncing a directory not its files'
 *   content.
 * - **A sync covers the writes that resolved before it began,** not those during it.
 * - **A failed sync is never repaired.** It leaves its pages clean: a later successful sync
 *   does not write them, and reports no error.
 * - **Any call may fail,** with or without its effect, or with a part of it (a torn write). Writes
 *   and reads may be short.
 * - **A killed process** leaves the cache as it is; its calls in flight may take effect, and never
 *   resolve.
 *
 * Calls resolve after one to three turns of the event loop, drawn from the seed, so that concurrent
 * calls overlap differently from seed to seed. `cutPowerAfter(k)` lets k steps (calls that change
 * something, or sync) happen; later calls fail and change nothing.
 */
import { posix } from 'node:path';
import {
  creates,
  type FileSystem,
  type OpenFile,
  type OpenMode,
  type PathStatus,
  type WriteAhead,
} from '../../libs/key-value-storage/src/providers/json-file/disk/file-system.js';
import { DirectoryNode, drawOdds, FileNode, type Node, type Ticket } from './page-cache.js';
import { seededRandom, type Random } from './seeded-random.js';

/** The calls that change something, or sync: the power may be cut after each. */
export const steps = [
  'create',
  'write',
  'truncate',
  'sync',
  'rename',
  'remove',
  'makeDirectory',
  'removeDirectory',
  'syncDirectory',
] as const;
export const calls = [...steps, 'open', 'read', 'size', 'status', 'list', 'close'] as const;
export type Call = (typeof calls)[number];

export interface Fault {
  /** The kind of call; `nth` is counted from 1 since the fault was set. */
  readonly call: Call | 'any';
  readonly nth: number;
  readonly code: 'EIO' | 'ENOSPC' | 'EMFILE' | 'EACCES';
  /**
   * The effect despite the failure. A part of a write is its first half, or `bytes` of it. @default
   * 'none'
   */
  readonly effect?: 'none' | 'part' | 'whole';
  readonly bytes?: number;
  /** All later calls of this kind fail too, as on a full disk. */
  readonly lasting?: boolean;
}

const writesAhead = [0, 10_000, 300, 1_500] as const;

export class SimulatedDisk {
  readonly #root: DirectoryNode;
  readonly #random: Random;
  readonly #counts = new Map<Call, number>();
  readonly #trace: string[] = [];
  #stepsMade = 0;
  #stepsLeft = Number.POSITIVE_INFINITY;
  #fault: (Fault & { seen: number }) | undefined;
  #shortTransfers = false;
  readonly #skipped = new Set<Call>();

  /** How far files are written ahead: not at all, or by less than a sector up to several pages. */
  readonly writeAhead: WriteAhead;

  constructor(
    seed = 1,
    root: DirectoryNode = new DirectoryNode(),
    writeAheadBytes = writesAhead[seed % writesAhead.length] as number,
  ) {
    this.#random = seededRandom(seed);
    this.#root = root;
    this.writeAhead = { fromBytes: writeAheadBytes === 0 ? Infinity : 0, bytesMax: writeAheadBytes };
  }

  /** The number of steps so far. */
  get steps(): number {
    return this.#stepsMade;
  }

  get powered(): boolean {
    return this.#stepsLeft > 0;
  }

  /** All calls in order, for the message of a failing test. */
  get trace(): readonly string[] {
    return this.#trace;
  }

  count(call: Call): number {
    return this.#counts.get(call) ?? 0;
  }

  cutPowerAfter(steps: number): void {
    this.#stepsLeft = steps;
  }

  fail(fault: Fault | undefined): void {
    this.#fault = fault === undefined ? undefined : { ...fault, seen: 0 };
  }

  /** Whether the fault has occurred. */
  get struck(): boolean {
    return this.#fault !== undefined && this.#fault.seen >= this.#fault.nth;
  }

  /**
   * From now on this call resolves without an effect, as if the code omitted it: to prove that a
   * test detects it.
   */
  skip(call: 'sync' | 'syncDirectory'): void {
    this.#skipped.add(call);
  }

  /** From now on reads and writes transfer fewer bytes than requested. */
  transferShort(): void {
    this.#shortTransfers = true;
  }

  /** The disk after a power cut. The seed decides what it kept. */
  afterPowerCut(seed: number): SimulatedDisk {
    const random = seededRandom(seed);
    return new SimulatedDisk(seed, this.#root.afterCut(random, drawOdds(random)));
  }

  /** The disk after all processes were killed and the cache was written back. */
  afterKill(): SimulatedDisk {
    const copy = (node: Node): Node =>
      node instanceof FileNode
        ? new FileNode(node.bytes())
        : new DirectoryNode(new Map([...node.entries].map(([name, child]) => [name, copy(child)])));
    return new SimulatedDisk(1, copy(this.#root) as DirectoryNode, this.writeAhead.bytesMax);
  }

  /** A process that uses the disk, until it is killed. */
  process(): { readonly fileSystem: FileSystem; readonly kill: () => void } {
    const state = { alive: true };
    return {
      fileSystem: new ProcessView(this, state),
      kill: () => {
        state.alive = false;
      },
    };
  }

  /** All files there are, with their size. */
  files(): readonly string[] {
    const walk = (directory: DirectoryNode, path: string): string[] =>
      [...directory.entries].flatMap(([name, node]) =>
        node instanceof FileNode ? [posix.join(path, name)] : walk(node, posix.join(path, name)),
      );
    return walk(this.#root, '/').sort();
  }

  /** The content at `path` as processes read it, without a call. */
  contentOf(path: string): Uint8Array {
    const node = this.nodeAt(path);
    if (node instanceof FileNode) return node.bytes();
    throw failure('ENOENT', path);
  }

  textOf(path: string): string {
    return Buffer.from(this.contentOf(path)).toString('utf8');
  }

  /**
   * Replaces the content of a file from outside, on disk at once: damage, or an editor. `undefined`
   * removes the file.
   */
  replace(path: string, bytes: Uint8Array | undefined): void {
    const { parent, name } = this.parentOf(path);
    const ticket: Ticket = { resolved: true };
    if (bytes === undefined) parent.remove(name, ticket);
    else parent.add(name, new FileNode(bytes), ticket);
    parent.sync()(true);
  }

  /** The paths that a power cut may change. */
  unsynced(): readonly string[] {
    const walk = (node: Node, path: string): string[] => [
      ...(node.uncertain ? [path] : []),
      ...(node instanceof DirectoryNode
        ? [...node.entries].flatMap(([name, child]) => walk(child, posix.join(path, name)))
        : []),
    ];
    return walk(this.#root, '/');
  }

  /**
   * One call: counts it, applies a fault, takes the effect, and resolves some turns later. `begin`
   * may return an effect for its end.
   */
  async perform<T>(call: Call, path: string, state: ProcessState, begin: Begin<T>): Promise<T> {
    this.#assertRunning(state);
    this.#counts.set(call, this.count(call) + 1);
    this.#trace.push(`${call} ${path}`);
    const fault = this.#faultOf(call);
    const ticket: Ticket = { resolved: false };
    const atEnd = call === 'sync' || call === 'syncDirectory';
    const without = fault !== undefined && (fault.effect ?? 'none') === 'none' && !atEnd && call !== 'close';
    const begun = without ? undefined : begin(ticket, (bytes) => this.#portion(bytes, fault));
    if (!atEnd) this.#countStep(call);
    for (let turns = 1 + this.#random.below(3); turns > 0; turns -= 1) await new Promise(setImmediate);
    ticket.resolved = true;
    if (begun instanceof Ending) {
      if (!this.powered) throw failure('EIO', `${path} (the power is off)`);
      if (!this.#skipped.has(call)) begun.end(fault === undefined || fault.effect === 'whole');
      this.#countStep(call);
    }
    if (!state.alive) throw failure('EIO', `${path} (the process was killed)`);
    if (fault !== undefined) throw failure(fault.code, `${call} ${path}`);
    return begun instanceof Ending ? begun.answer : (begun as T);
  }

  /** Synchronous calls, one after the other; returns what `read` finds. */
  performNow<T>(calls: readonly Call[], path: string, state: ProcessState, read: () => T): T {
    this.#assertRunning(state);
    for (const call of calls) {
      this.#counts.set(call, this.count(call) + 1);
      this.#trace.push(`${call} ${path}`);
      const fault = this.#faultOf(call);
      if (fault !== undefined) throw failure(fault.code, `${call} ${path}`);
    }
    return read();
  }

  nodeAt(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (!(node instanceof DirectoryNode)) return undefined;
      node = node.entries.get(name);
    }
    return node;
  }

  parentOf(path: string): { readonly parent: DirectoryNode; readonly name: string } {
    const parent = this.nodeAt(posix.dirname(path));
    if (!(parent instanceof DirectoryNode)) throw failure('ENOENT', path);
    return { parent, name: posix.basename(path) };
  }

  /** The number of bytes that are transferred. */
  #portion(bytes: number, fault: Fault | undefined): number {
    if (fault?.effect === 'part') return Math.min(bytes, fault.bytes ?? Math.floor(bytes / 2));
    return this.#shortTransfers && bytes > 1 ? 1 + this.#random.below(bytes) : bytes;
  }

  #assertRunning(state: ProcessState): void {
    if (!this.powered) throw failure('EIO', 'the power is off');
    if (!state.alive) throw failure('EIO', 'the process was killed');
  }

  #faultOf(call: Call): Fault | undefined {
    const fault = this.#fault;
    if (fault === undefined || (fault.call !== 'any' && fault.call !== call)) return undefined;
    fault.seen += 1;
    return fault.seen === fault.nth || (fault.lasting === true && fault.seen > fault.nth) ? fault : undefined;
  }

  #countStep(call: Call): void {
    if (!(steps as readonly Call[]).includes(call)) return;
    this.#stepsMade += 1;
    this.#stepsLeft -= 1;
  }
}

interface ProcessState {
  readonly alive: boolean;
}

/** Takes the effect of a call. `portion` returns how many of so many bytes are transferred. */
type Begin<T> = (ticket: Ticket, portion: (bytes: number) => number) => T | Ending<T>;

/** A call that takes effect when it resolves. */
class Ending<T> {
  constructor(
    readonly end: (succeeded: boolean) => void,
    readonly answer: T,
  ) {}
}

class ProcessView implements FileSystem {
  constructor(
    readonly disk: SimulatedDisk,
    readonly state: ProcessState,
  ) {}

  get writeAhead(): WriteAhead {
    return this.disk.writeAhead;
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    const isNew = creates(mode);
    return await this.#perform(isNew ? 'create' : 'open', path, (ticket) => {
      const { parent, name } = this.disk.parentOf(path);
      const found = parent.entries.get(name);
      if (found instanceof DirectoryNode) throw failure(isNew ? 'EEXIST' : 'EISDIR', path);
      if (!isNew) {
        if (found === undefined) throw failure('ENOENT', path);
        return new OpenView(this, path, found, mode);
      }
      if (found !== undefined) throw failure('EEXIST', path);
      const node = new FileNode();
      parent.add(name, node, ticket);
      return new OpenView(this, path, node, mode);
    });
  }

  readNow(path: string, bytesMax: number): Uint8Array {
    return this.disk.performNow(['open', 'read'], path, this.state, () =>
      this.disk.contentOf(path).slice(0, bytesMax),
    );
  }

  /** There are no links, and one user. */
  async status(path: string): Promise<PathStatus | undefined> {
    return await this.#perform('status', path, () => {
      const node = this.disk.nodeAt(path);
      if (node === undefined) return undefined;
      return {
        kind: node instanceof FileNode ? 'file' : 'directory',
        permissions: undefined,
        isOurs: true,
        bytes: node instanceof FileNode ? this.disk.contentOf(path).length : 0,
        modifiedMs: 0,
      } as const;
    });
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#perform('rename', `${from} → ${posix.basename(to)}`, (ticket) => {
      const source = this.disk.parentOf(from);
      const target = this.disk.parentOf(to);
      if (!source.parent.entries.has(source.name)) throw failure('ENOENT', from);
      if (source.parent !== target.parent)
        throw new Error(`The simulated disk renames within one directory: ${from} → ${to}`);
      const replaced = target.parent.entries.get(target.name);
      if (replaced instanceof DirectoryNode && replaced.entries.size > 0) throw failure('ENOTEMPTY', to);
      source.parent.rename(source.name, target.name, ticket);
    });
  }

  async remove(path: string): Promise<void> {
    await this.#perform('remove', path, (ticket) => {
      const { parent, name } = this.disk.parentOf(path);
      if (!(parent.entries.get(name) instanceof FileNode))
        throw failure(parent.entries.has(name) ? 'EISDIR' : 'ENOENT', path);
      parent.remove(name, ticket);
    });
  }

  async makeDirectory(path: string): Promise<boolean> {
    return await this.#perform('makeDirectory', path, (ticket) => {
      if (path === '/') return false;
      const { parent, name } = this.disk.parentOf(path);
      const found = parent.entries.get(name);
      if (found instanceof FileNode) throw failure('EEXIST', path);
      if (found === undefined) parent.add(name, new DirectoryNode(), ticket);
      return found === undefined;
    });
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#perform('removeDirectory', path, (ticket) => {
      const { parent, name } = this.disk.parentOf(path);
      const found = parent.entries.get(name);
      if (!(found instanceof DirectoryNode)) throw failure(found === undefined ? 'ENOENT' : 'ENOTDIR', path);
      if (found.entries.size > 0) throw failure('ENOTEMPTY', path);
      parent.remove(name, ticket);
    });
  }

  async list(path: string): Promise<readonly string[] | undefined> {
    return await this.#perform('list', path, () => {
      const node = this.disk.nodeAt(path);
      if (node instanceof FileNode) throw failure('ENOTDIR', path);
      return node === undefined ? undefined : [...node.entries.keys()].reverse();
    });
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#perform<undefined>('syncDirectory', path, () => {
      const node = this.disk.nodeAt(path);
      if (!(node instanceof DirectoryNode)) throw failure('ENOENT', path);
      return new Ending(node.sync(), undefined);
    });
  }

  async #perform<T>(call: Call, path: string, begin: Begin<T>): Promise<T> {
    return await this.disk.perform(call, path, this.state, begin);
  }
}

/** An open file. It remains usable after its name was removed. */
class OpenView implements OpenFile {
  readonly #view: ProcessView;
  readonly #path: string;
  readonly #node: FileNode;
  readonly #mode: OpenMode;
  #open = true;

  constructor(view: ProcessView, path: string, node: FileNode, mode: OpenMode) {
    this.#view = view;
    this.#path = path;
    this.#node = node;
    this.#mode = mode;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    return await this.#perform('read', (_, portion) =>
      this.#node.read(into.subarray(0, portion(into.length)), position),
    );
  }

  /**
   * A synced write is a write and a sync: either may fail, and the power may be cut between them.
   */
  async write(bytes: Uint8Array, position: number): Promise<number> {
    const copy = bytes.slice();
    const written = await this.#perform('write', (ticket, portion) => {
      if (this.#mode === 'read') throw failure('EBADF', this.#path);
      const length = portion(copy.length);
      this.#node.write(copy.subarray(0, length), position, ticket);
      return length;
    });
    if (this.#mode === 'write-synced' || this.#mode === 'create-synced') await this.sync();
    return written;
  }

  async truncate(length: number): Promise<void> {
    await this.#perform('truncate', (ticket) => this.#node.truncate(length, ticket));
  }

  async sync(): Promise<void> {
    await this.#perform<undefined>('sync', () => new Ending(this.#node.sync(), undefined));
  }

  async size(): Promise<number> {
    return await this.#perform('size', () => this.#node.size);
  }

  async close(): Promise<void> {
    await this.#perform('close', () => {
      this.#open = false;
    });
  }

  async #perform<T>(call: Call, begin: Begin<T>): Promise<T> {
    if (!this.#open) throw failure('EBADF', this.#path);
    return await this.#view.disk.perform(call, this.#path, this.#view.state, begin);
  }
}

/** An error like those of Node. */
function failure(code: string, subject: string): Error & { readonly code: string } {
  return Object.assign(new Error(`${code}: ${subject}`), { code });
}
