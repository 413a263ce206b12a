/**
 * One database: its rows in memory, its journal on disk, and the loop that commits groups. One
 * group is in flight at a time: it is evaluated, written, synced, and only then applied to the rows
 * that readers see. Commits that arrive in the meantime form the next group. So one sync serves all
 * waiting commits, and a single commit does not wait for others.
 *
 * A failed write or sync closes the database for writing until the provider is opened again. A sync
 * is never retried: after a failure the kernel may regard unwritten pages as written.
 */
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { StoredTime } from '../../../core/base/clock.js';
import { storageError, type StorageError } from '../../../core/base/errors.js';
import { RowTable } from '../../../core/providers/row-table.js';
import { CommitGroup } from './group-commit.js';
import { CommitQueue, type Evaluate } from './commit-queue.js';
import { compact } from './compaction.js';
import { outcomeUnknown, reasonOf, synced, SyncFailure, unavailable } from '../disk/disk-errors.js';
import { directoryOf } from '../disk/file-name.js';
import { applyEffects, FileSizes } from './file-sizes.js';
import { FrozenView } from '../../../core/providers/frozen-view.js';
import type { ExportPart } from '../../../core/port/storage-provider.js';
import { JournalFile } from './journal-file.js';
import { lineBody } from '../format/journal-line.js';
import { asideName, droppedName } from '../format/layout.js';
import type { JournalHolder } from './open-journals.js';
import type { RecoveredDatabase } from './read-database.js';
import type { GenerationStart, StoreContext } from './store-context.js';
import type { GroupPositions } from './store-feed.js';

interface Switch {
  readonly journal: JournalFile;
  readonly resolve: (start: GenerationStart) => void;
  readonly reject: (error: unknown) => void;
}

export class DatabaseFile implements JournalHolder {
  readonly name: string;
  readonly directory: string;
  readonly table: RowTable;
  readonly context: StoreContext;
  readonly #queue = new CommitQueue();
  readonly #views = new Set<FrozenView>();
  /** The journal of this process; `undefined` before its first commit. */
  #journal: JournalFile | undefined;
  #generation: number;
  #exists: boolean;
  #onDisk: number;
  /** The last commit that the journal notes as on disk. */
  #noted: number;
  #latest: StoredTime;
  #noteDue = false;
  /** Whether the journal should be closed until the next commit. */
  #suspendDue = false;
  #pendingSwitch: Switch | undefined;
  /** A compaction that waits for an open journal. */
  #pendingOpen: (Pick<Switch, 'reject'> & { readonly resolve: () => void }) | undefined;
  #running: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  #stopping = false;
  #failure: StorageError | undefined;
  /**
   * Whether a sync of the directory failed. Nothing is lost, but its entries may not be on disk, so
   * the journal gets no end mark.
   */
  #directoryUncertain = false;
  readonly #sizes: FileSizes;
  /** Positions whose rows may or may not be on disk: they hold back the feed. */
  #uncertain: GroupPositions | undefined;

  constructor(name: string, context: StoreContext, recovered?: RecoveredDatabase) {
    this.name = name;
    this.context = context;
    this.directory = join(context.root, directoryOf(name));
    this.table = recovered?.table ?? new RowTable();
    this.table.joinFeed({ index: context.feed.index, database: name });
    this.#exists = recovered !== undefined;
    this.#generation = recovered?.generation ?? 0;
    this.#onDisk = this.#noted = recovered?.last ?? 0;
    this.#latest = recovered?.time ?? { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };
    this.#sizes = new FileSizes(recovered);
  }

  /** Whether it has a directory. */
  get exists(): boolean {
    return this.#exists;
  }

  /** Whether it must stay in memory; an idle database without a directory is forgotten. */
  get isKept(): boolean {
    return (
      this.#exists ||
      this.#failure !== undefined ||
      this.#queue.size > 0 ||
      this.#running !== undefined ||
      this.#views.size > 0
    );
  }

  get canSuspend(): boolean {
    return this.#journal?.isOpen === true && this.#running === undefined && this.#compacting === undefined;
  }

  suspend(): void {
    this.#suspendDue = true;
    this.#wake();
  }

  get onDisk(): number {
    return this.#onDisk;
  }

  /**
   * Adds a commit to the next group; resolves once its rows, and those it depends on, are on disk.
   * `resultOf`: the result instead of a rejection.
   */
  submit<A>(evaluate: Evaluate<A>, signal?: AbortSignal, resultOf?: (error: unknown) => A): Promise<A> {
    const result = this.#queue.enqueue(evaluate, signal, resultOf);
    this.#wake();
    return result;
  }

  /** How many views are being read. */
  get views(): number {
    return this.#views.size;
  }

  /** The rows at this moment, to be read while commits continue. */
  freeze(part?: ExportPart): FrozenView {
    const view = new FrozenView(this.table, (released) => this.#views.delete(released), part);
    this.#views.add(view);
    return view;
  }

  /**
   * Notes in the journal which commits are on disk, if nothing else is written: damage at its end
   * is then known to be damage.
   */
  noteOnDisk(): void {
    if (this.#journal?.isOpen !== true || this.#noted === this.#onDisk || this.#failure !== undefined) return;
    this.#noteDue = true;
    this.#wake();
  }

  /** Rejects all queued and further commits with this error. Reads continue. */
  closeForWriting(error: StorageError): void {
    this.#failure ??= error;
    this.#queue.rejectAll(this.#failure);
  }

  /** Waits for the work in flight; compaction is cancelled. */
  async settle(): Promise<void> {
    this.#stopping = true;
    await this.#compacting;
    while (this.#running !== undefined) await this.#running;
  }

  /**
   * Waits for the work in flight and writes the end mark. A failure here loses nothing: the next
   * start recovers.
   */
  async close(): Promise<void> {
    await this.settle();
    this.#stopping = false;
    const journal = this.#journal;
    if (journal !== undefined) {
      this.#journal = undefined;
      this.#sizes.closedJournal(journal.bytes);
      try {
        await this.#writeEnd(journal);
      } catch (error) {
        this.context.warn(
          `${journal.path} got no end mark: ${reasonOf(error)}. The next start recovers it as after a crash.`,
        );
      } finally {
        await journal.close().catch(() => undefined);
      }
    }
    this.context.journals.release(this);
  }

  /** A suspended journal has its end mark already. */
  async #writeEnd(journal: JournalFile): Promise<void> {
    if (!journal.isOpen || this.#failure !== undefined || this.#directoryUncertain) return;
    await journal.appendLast(
      lineBody({ kind: 'end', onDisk: this.#onDisk, ahead: this.context.time.ahead() }),
    );
    this.#noted = this.#onDisk;
  }

  /**
   * Closes the descriptor of the journal, after an end mark. Later commits are written behind that
   * mark.
   */
  async #suspendNow(): Promise<void> {
    this.#suspendDue = false;
    const journal = this.#journal;
    try {
      if (journal !== undefined) await this.#writeEnd(journal);
    } catch (error) {
      this.closeForWriting(unavailable(this.#closedForWriting(), error));
    }
    await journal?.close().catch(() => undefined);
    this.context.journals.release(this);
  }

  /** Call it once its directory is gone: no row of it is found any more. */
  leaveFeed(): void {
    for (const { row } of this.table.all())
      if (row.position !== undefined) this.context.feed.index.delete(row.position);
    this.#uncertain?.end('none');
  }

  // ─── the loop of groups

  #wake(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // a turn of the event loop: callers of the last group may commit again and join this one
    for (await setImmediate(); this.#isDue(); await setImmediate()) {
      if (this.#failure === undefined)
        await this.#runGroup().catch((error: unknown) =>
          this.closeForWriting(unavailable(this.#closedForWriting(), error)),
        );
      else {
        this.#queue.rejectAll(this.#failure);
        this.#pendingSwitch?.reject(this.#failure);
        this.#pendingOpen?.reject(this.#failure);
        this.#pendingSwitch = this.#pendingOpen = undefined;
        this.#noteDue = false;
      }
      this.#suspendDue ||= this.context.journals.isClaimed(this);
      if (this.#suspendDue && this.#compacting === undefined) await this.#suspendNow();
    }
    // synchronously after the last check: a later commit starts the loop again
    this.#running = undefined;
    // the slot may have been claimed since the last group
    if (this.context.journals.isClaimed(this)) this.suspend();
    this.context.onIdle(this.name);
  }

  #isDue(): boolean {
    return (
      this.#queue.size > 0 ||
      this.#noteDue ||
      this.#pendingSwitch !== undefined ||
      this.#pendingOpen !== undefined ||
      (this.#suspendDue && this.#compacting === undefined)
    );
  }

  async #runGroup(): Promise<void> {
    const pendingOpen = this.#pendingOpen;
    if (pendingOpen !== undefined) {
      this.#pendingOpen = undefined;
      await this.#openJournal().then(pendingOpen.resolve, pendingOpen.reject);
    }
    if (this.#pendingSwitch !== undefined) await this.#switchJournal(this.#pendingSwitch);
    const { feed, time, spareBuffer, verifyOwner } = this.context;
    const positions = feed.begin();
    const group = new CommitGroup(this.table, this.#onDisk, positions, spareBuffer);
    try {
      group.fill(this.#queue, time);
      const ready = group.resolveReady(verifyOwner);
      if (group.effects.length > 0) await this.#write(group);
      else {
        positions.end('none');
        if (this.#noteDue && this.#journal?.isOpen === true) await this.#writeNote(this.#journal);
      }
      this.#noteDue = false;
      await ready;
    } finally {
      group.lines.release();
      if (positions.endUncertain(time.now())) this.#uncertain = positions;
    }
  }

  async #write(group: CommitGroup): Promise<void> {
    let journal: JournalFile;
    const { feed } = this.context;
    const { positions } = group;
    try {
      if (!feed.isReserved(positions.last)) await feed.reserve(positions.last);
      journal = await this.#openJournal();
    } catch (error) {
      positions.end('none');
      const failed = unavailable(`Nothing was written to ${this.directory}`, error);
      if (error instanceof SyncFailure) this.closeForWriting(unavailable(this.#closedForWriting(), error));
      return group.reject(failed, failed);
    }
    try {
      await journal.append(group.lines);
      await this.context.verifyOwner();
    } catch (error) {
      this.closeForWriting(unavailable(this.#closedForWriting(), error));
      return group.reject(
        outcomeUnknown(`${journal.path} could not be written`, error),
        unavailable(`A commit that this one depends on could not be written to ${journal.path}`, error),
      );
    }
    this.#apply(group);
    group.resolve();
    this.#compactIfDue();
  }

  #apply(group: CommitGroup): void {
    this.#noted = this.#onDisk;
    this.#onDisk = group.last;
    if (group.latest.time >= this.#latest.time) this.#latest = group.latest;
    for (const view of this.#views) for (const { address } of group.effects) view.preserve(address);
    this.#sizes.leftGarbage(applyEffects(this.table, group.effects));
    group.positions.end('stored');
    this.context.hints.committed(this.name, group.effects);
  }

  async #writeNote(journal: JournalFile): Promise<void> {
    await journal.appendLine(lineBody({ kind: 'note', onDisk: this.#onDisk }));
    this.#noted = this.#onDisk;
  }

  #closedForWriting(): string {
    return `The database '${this.name}' is closed for writing until its provider is opened again`;
  }

  // ─── generations

  async #openJournal(): Promise<JournalFile> {
    const { journals, fileSystem, verifyOwner } = this.context;
    await journals.acquire(this);
    try {
      if (this.#journal?.isOpen === false) {
        await verifyOwner();
        await this.#journal.reopen(fileSystem);
      }
      return (this.#journal ??= await this.#createJournal());
    } catch (error) {
      journals.release(this);
      throw error;
    }
  }

  /**
   * Creates the first journal of this process. A new database is created under a temporary name and
   * renamed once its journal is on disk.
   */
  async #createJournal(): Promise<JournalFile> {
    const { fileSystem } = this.context;
    await this.context.verifyOwner();
    if (this.#exists) {
      const journal = await JournalFile.create(
        fileSystem,
        this.directory,
        this.#headerOf(this.#generation + 1),
      );
      try {
        await synced(this.directory, fileSystem.syncDirectory(this.directory));
      } catch (error) {
        await journal.discard(fileSystem);
        throw error;
      }
      this.#generation = journal.generation;
      return journal;
    }
    const journal = await this.#createDirectory();
    this.#exists = true;
    this.#generation = 1;
    return journal;
  }

  #headerOf(generation: number): Parameters<typeof JournalFile.create>[2] {
    return { database: this.name, generation, after: this.#onDisk };
  }

  async #createDirectory(): Promise<JournalFile> {
    const { fileSystem, root, verifyOwner } = this.context;
    const aside = join(root, asideName('new'));
    await fileSystem.makeDirectory(aside);
    let journal: JournalFile | undefined;
    try {
      journal = await JournalFile.create(fileSystem, aside, this.#headerOf(1));
      await synced(aside, fileSystem.syncDirectory(aside));
      await verifyOwner();
      await fileSystem.rename(aside, this.directory);
      journal.movedTo(this.directory);
    } catch (error) {
      await journal?.discard(fileSystem);
      await fileSystem.removeDirectory(aside).catch(() => undefined);
      throw error;
    }
    try {
      await synced(root, fileSystem.syncDirectory(root));
      return journal;
    } catch (error) {
      // its name may never reach the disk, however often it is synced: the next attempt uses a new
      // one
      await journal.close().catch(() => undefined);
      await fileSystem
        .rename(
          this.directory,
          join(root, droppedName({ directory: basename(this.directory), generation: 1 })),
        )
        .catch(() => undefined);
      throw error;
    }
  }

  #compactIfDue(): void {
    if (this.#compacting !== undefined || this.#stopping || this.#failure !== undefined) return;
    const current = this.#journal?.bytes ?? 0;
    if (!this.#sizes.isDue(current, this.context.compaction)) return;
    this.#compacting = this.#compact().then(
      () => {
        this.#compacting = undefined;
        this.#afterCompaction();
      },
      (error: unknown) => {
        this.#compacting = undefined;
        this.#directoryUncertain ||= error instanceof SyncFailure;
        this.#sizes.failedToCompact(current, !this.#directoryUncertain);
        if (!this.#stopping)
          this.context.warn(
            `${this.directory} could not be compacted: ${reasonOf(error)}. Its journals are kept, and commits continue.`,
          );
        this.#afterCompaction();
      },
    );
  }

  /** A journal is not suspended during compaction. */
  #afterCompaction(): void {
    if (this.#suspendDue || this.context.journals.isClaimed(this)) this.suspend();
  }

  /** Writes the rows that were found on opening as a new generation. */
  async recover(): Promise<void> {
    const { fileSystem, time } = this.context;
    // from here on, time that passes while the store is closed is counted
    const ahead = time.ahead();
    if (ahead !== undefined && Number.isFinite(this.#latest.time)) this.#latest = ahead;
    try {
      // the existing names must be on disk before the new one: a power cut could keep the new one
      // without those before it
      await synced(this.directory, fileSystem.syncDirectory(this.directory));
      await this.context.journals.acquire(this);
      const compacting = this.#compact();
      // no end mark before all of this is on disk
      this.#compacting = compacting.catch(() => undefined);
      await compacting;
    } catch (error) {
      if (this.#journal === undefined) this.context.journals.release(this);
      // no end mark: the next start has to recover again
      this.#directoryUncertain = true;
      throw unavailable(`What was recovered in ${this.directory} could not be written`, error);
    } finally {
      this.#compacting = undefined;
      this.#afterCompaction();
    }
  }

  /** Starts a new generation now. Returns the bytes of the files before it, less those after it. */
  async compact(): Promise<number> {
    while (this.#compacting !== undefined) await this.#compacting;
    if (this.#failure !== undefined) throw this.#failure;
    const before = this.#bytes;
    const compacting = this.#openJournalInLoop().then(() => this.#compact());
    this.#compacting = compacting.catch(() => undefined);
    try {
      await compacting;
    } catch (error) {
      this.#directoryUncertain ||= error instanceof SyncFailure;
      throw unavailable(`${this.directory} could not be compacted`, error);
    } finally {
      this.#compacting = undefined;
      this.#afterCompaction();
    }
    return Math.max(0, before - this.#bytes);
  }

  /** In the loop, because a commit may create the journal of the same generation. */
  #openJournalInLoop(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pendingOpen = { resolve, reject };
      this.#wake();
    });
  }

  /** The length of the snapshot and of all journals. */
  get #bytes(): number {
    return this.#sizes.total(this.#journal?.bytes ?? 0);
  }

  /** Starts a new generation whose snapshot contains all rows at this moment. */
  async #compact(): Promise<void> {
    const snapshotBytes = await compact(this, this.#generation + 1, () => {
      if (this.#stopping || this.#failure !== undefined)
        throw storageError(
          'STORAGE_UNAVAILABLE',
          `${this.directory} is being closed: its compaction was cancelled.`,
          {},
        );
    });
    this.#sizes.compacted(snapshotBytes);
  }

  switchTo(journal: JournalFile): Promise<GenerationStart> {
    return new Promise((resolve, reject) => {
      this.#pendingSwitch = { journal, resolve, reject };
      this.#wake();
    });
  }

  async #switchJournal({ journal, resolve, reject }: Switch): Promise<void> {
    this.#pendingSwitch = undefined;
    const before = this.#journal;
    try {
      if (before !== undefined) {
        await before.appendLast(
          lineBody({ kind: 'next', generation: journal.generation, onDisk: this.#onDisk }),
        );
        this.#noted = this.#onDisk;
      }
    } catch (error) {
      reject(error);
      throw error;
    }
    await before?.close().catch(() => undefined);
    this.#sizes.closedJournal(before?.bytes ?? 0);
    this.#sizes.beganGeneration();
    this.#journal = journal;
    this.#generation = journal.generation;
    resolve({ view: this.freeze(), upTo: this.#onDisk, time: this.#latest });
  }
}
