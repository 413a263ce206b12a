/**
 * The feed of a store. One counter gives the positions, for all databases. A group takes its
 * positions when it is evaluated, and groups of two databases end in any order: so a reader stops
 * before the first position of a group that is not on disk yet.
 *
 * A position is written only below a reserved one. The reservation is the name of an empty file in
 * the root, and the next process counts from there: so no position is given twice, also not that of
 * a row that was deleted, or of a line that was cut off. The largest name counts. A process that
 * has lost the store only adds a name or removes a smaller one.
 */
import { join } from 'node:path';
import { untilAborted } from '../../../core/base/abort.js';
import {
  feedPositionOf,
  feedStart,
  partsOfPosition,
  PositionCounter,
} from '../../../core/port/feed-position.js';
import { isPlaced, type ImportedPositions } from '../../../core/port/imported-positions.js';
import { FeedIndex } from '../../../core/providers/feed-index.js';
import type { HintSource } from '../../../core/providers/hint-source.js';
import type {
  FeedPage,
  FeedPosition,
  FeedRequest,
  RawRow,
  Row,
  RowAddress,
} from '../../../core/port/storage-provider.js';
import { codeOf, synced, unavailable } from '../disk/disk-errors.js';
import type { FileSystem } from '../disk/file-system.js';
import { reservationName, reservedBy } from '../format/layout.js';

/** The positions of one reservation: it costs a sync of the root. */
const defaultBlockSize = 65_536n;

interface FeedContext {
  readonly fileSystem: FileSystem;
  readonly root: string;
  readonly verifyOwner: () => Promise<void>;
  readonly hints: HintSource;
  /** The positions of one reservation. @default 65,536 */
  readonly blockSize?: bigint;
}

/** Where the rows are read, and when. */
interface FeedReader {
  readonly rowAt: (place: { readonly database: string; readonly address: RowAddress }) => Row | undefined;
  /** Called after a wait. */
  readonly now: () => number;
}

export class StoreFeed {
  readonly index = new FeedIndex();
  readonly #counter = new PositionCounter();
  readonly #context: FeedContext;
  /** Groups that are not on disk yet, in the order of their first positions. */
  readonly #groups = new Set<GroupPositions>();
  /** The names of reservations in the root. */
  #names: readonly string[] = [];
  /**
   * Positions up to this one may be written and read. A reservation that was found on opening may
   * be in the page cache only, so it does not count: the feed ends with the last row.
   */
  #reserved = feedStart;
  /** The largest reservation that was tried: a name whose sync failed is not used again. */
  #tried = feedStart;
  #reserving: Promise<void> | undefined;
  /** The largest position of a row that can be read. */
  #stored = feedStart;

  /** One for all groups: most of them put nothing into the feed. */
  readonly #numbering: Numbering = {
    counter: this.#counter,
    isTaken: (position) =>
      this.index.has(position) || [...this.#groups].some((group) => group.hasTaken(position)),
    began: (group) => this.#groups.add(group),
    ended: (group, last) => {
      this.#groups.delete(group);
      if (last !== undefined && last > this.#stored) this.#stored = last;
      // also one that stored nothing may have held back others
      if (group.last !== undefined) this.#context.hints.feedMoved();
    },
  };

  constructor(context: FeedContext) {
    this.#context = context;
  }

  /** Continues behind what earlier processes have reserved; returns whether there is anything. */
  async found(): Promise<boolean> {
    const { fileSystem, root } = this.#context;
    this.#names = await reservationsIn(fileSystem, root);
    for (const name of this.#names) this.#counter.advanceTo(reservedBy(name) as FeedPosition);
    this.#tried = this.#counter.last;
    return this.#names.length > 0;
  }

  /** Adds a row that was found on opening. Call it in the order of positions. */
  add(position: FeedPosition, database: string, { container, entity, key }: RowAddress): void {
    this.index.set(position, database, { container, entity, key });
    this.#counter.advanceTo(position);
    this.#stored = this.#reserved = position;
  }

  /** Adds such a row behind all others; returns its position. */
  addLast(database: string, address: RowAddress): FeedPosition {
    const position = this.#counter.next();
    this.add(position, database, address);
    return position;
  }

  begin(): GroupPositions {
    return new GroupPositions(this.#numbering);
  }

  /** Whether this position may be written. */
  isReserved(position: FeedPosition | undefined): boolean {
    return position === undefined || position <= this.#reserved;
  }

  /**
   * Reserves a block behind the last position. It is on disk when it resolves, and so is a
   * reservation of `position`.
   */
  async reserve(position?: FeedPosition): Promise<void> {
    do {
      this.#reserving ??= this.#reserve().finally(() => (this.#reserving = undefined));
      await this.#reserving;
      // one that was in flight may have begun before this position was taken
    } while (!this.isReserved(position));
  }

  async #reserve(): Promise<void> {
    const { fileSystem, root, verifyOwner, blockSize = defaultBlockSize } = this.#context;
    const { last } = this.#counter;
    const [first, second] = partsOfPosition(last > this.#tried ? last : this.#tried);
    const upTo = (this.#tried = feedPositionOf(first, second + blockSize));
    const name = reservationName(upTo);
    const path = join(root, name);
    try {
      await verifyOwner();
      await (await fileSystem.open(path, 'create')).close();
      await synced(root, fileSystem.syncDirectory(root));
      await verifyOwner();
    } catch (error) {
      // a former owner may have created it, between its loss of the lock and its end
      if (codeOf(error) === 'EEXIST') return await this.#reserve();
      await fileSystem.remove(path).catch(() => undefined);
      throw unavailable(`Positions of the feed could not be reserved in ${root}`, error);
    }
    this.#reserved = upTo;
    for (const each of this.#names) await fileSystem.remove(join(root, each)).catch(() => undefined);
    this.#names = [name];
  }

  /**
   * Waits for the groups that stand before a row that can be read already. A group whose outcome is
   * unknown holds back what stands behind it until the store is opened again: its rows may be found
   * then.
   */
  async page(request: FeedRequest, { rowAt, now }: FeedReader): Promise<FeedPage> {
    const stored = this.#stored;
    let held = this.#heldBefore(stored);
    for (; held !== undefined && held.failedAt === undefined; held = this.#heldBefore(stored)) {
      const { ended } = held;
      await (request.signal === undefined
        ? ended
        : untilAborted('A read of the feed', 'none', request.signal, ended));
    }
    const time = now();
    const page = this.index.page(request, { rowAt, time, horizon: this.#horizon });
    if (held?.failedAt === undefined) return page;
    return { ...page, heldBackMs: Math.max(0, time - held.failedAt), heldBackTo: stored };
  }

  /** The first group, if it stands before this position. */
  #heldBefore(position: FeedPosition): GroupPositions | undefined {
    const [first] = this.#groups;
    return first !== undefined && first.before < position ? first : undefined;
  }

  get #horizon(): FeedPosition {
    const [first] = this.#groups;
    const end = first?.before ?? this.#counter.last;
    return end < this.#reserved ? end : this.#reserved;
  }
}

interface Numbering {
  readonly counter: PositionCounter;
  /** Whether a row has it, or will have it. */
  readonly isTaken: (position: FeedPosition) => boolean;
  readonly began: (group: GroupPositions) => void;
  /** `last`: the largest position that can be read now. */
  readonly ended: (group: GroupPositions, last: FeedPosition | undefined) => void;
}

/** The positions of one group of commits. */
export class GroupPositions {
  readonly #numbering: Numbering;
  /** In the order in which they were taken; a set of them is made where one is looked up. */
  readonly taken: FeedPosition[] = [];
  #takenSet: Set<FeedPosition> | undefined;
  /** The last position before those of the group. */
  before = feedStart;
  /** The largest position of the group. */
  last: FeedPosition | undefined;
  /** When it failed with an unknown outcome. */
  failedAt: number | undefined;
  #isOpen = true;
  #ended: Promise<void> | undefined;
  #resolve: (() => void) | undefined;

  constructor(numbering: Numbering) {
    this.#numbering = numbering;
  }

  readonly next = (): FeedPosition => {
    const before = this.#numbering.counter.last;
    const position = this.#numbering.counter.next();
    this.#take(position, before);
    return position;
  };

  hasTaken(position: FeedPosition): boolean {
    return (this.#takenSet ??= new Set(this.taken)).has(position);
  }

  /** An imported row, where it stands by the rules of `ImportedPositions`. */
  place(raw: RawRow, stored: Row | undefined, imported: ImportedPositions): Row {
    const { row } = raw;
    if (!isPlaced(raw)) return row;
    const isTaken = (position: FeedPosition): boolean =>
      position !== stored?.position && (this.#numbering.isTaken(position) || this.hasTaken(position));
    const position = imported.positionOf(raw, stored, isTaken);
    if (position === undefined) return { ...row, position: this.next() };
    if (position !== stored?.position) {
      const before = this.#numbering.counter.last;
      this.#numbering.counter.advanceTo(position);
      // where only rows stand behind it, a reader has passed it already: nothing is held back
      this.#take(position, before);
    }
    return { ...row, position };
  }

  /** Resolves when its outcome is known, or known to be unknown. */
  get ended(): Promise<void> {
    return (this.#ended ??= new Promise((resolve) => (this.#resolve = resolve)));
  }

  /** Call it once its rows can be read, or will never be: nothing was written. */
  end(outcome: 'stored' | 'none'): void {
    this.#isOpen = false;
    this.#numbering.ended(this, outcome === 'stored' ? this.last : undefined);
    this.#resolve?.();
  }

  /** Its outcome is unknown, unless it has ended. Returns whether it holds back the feed. */
  endUncertain(now: number): boolean {
    if (!this.#isOpen || this.last === undefined) return false;
    this.failedAt = now;
    this.#resolve?.();
    return true;
  }

  #take(position: FeedPosition, before: FeedPosition): void {
    if (this.last === undefined) {
      this.before = before;
      this.#numbering.began(this);
    }
    this.taken.push(position);
    this.#takenSet?.add(position);
    if (this.last === undefined || position > this.last) this.last = position;
  }
}

/** The names of reservations in a root. */
async function reservationsIn(fileSystem: FileSystem, root: string): Promise<readonly string[]> {
  try {
    return ((await fileSystem.list(root)) ?? []).filter((name) => reservedBy(name) !== undefined);
  } catch (error) {
    throw unavailable(`The store's directory ${root} cannot be read`, error);
  }
}

/**
 * Lets a copy continue behind what the original has reserved. Returns whether the original has
 * reservations. No process may use either.
 */
export async function copyReservation(fileSystem: FileSystem, from: string, to: string): Promise<boolean> {
  const name = (await reservationsIn(fileSystem, from)).toSorted().at(-1);
  if (name === undefined) return false;
  if ((await reservationsIn(fileSystem, to)).includes(name)) return true;
  try {
    await (await fileSystem.open(join(to, name), 'create')).close();
    await synced(to, fileSystem.syncDirectory(to));
    return true;
  } catch (error) {
    throw unavailable(`Positions of the feed could not be reserved in ${to}`, error);
  }
}
