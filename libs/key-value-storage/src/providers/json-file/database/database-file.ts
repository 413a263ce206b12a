/**
 * One database: its rows in memory, its journal on disk, and the loop between them. One group of
 * commits is on its way at a time: it is judged, written, synced, and only then applied to the rows
 * that readers see. While it is on its way, the next one gathers: so however many wait, each sync
 * serves all of them, and a lone caller waits for nobody.
 *
 * A write or sync that fails closes the database for writing until the provider is opened again: a
 * sync is never tried twice, because after a failure the kernel may take what it could not write
 * for written.
 */
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { StoredTime } from '../../../core/base/clock.js';
import { storageError, type StorageError } from '../../../core/base/errors.js';
import { RowTable } from '../../../core/providers/row-table.js';
import { CommitGroup } from './group-commit.js';
import { CommitQueue, type Judge } from './commit-queue.js';
import { compact } from './compaction.js';
import { outcomeUnknown, reasonOf, synced, SyncFailure, unavailable } from '../disk/disk-errors.js';
import { directoryOf } from '../disk/file-name.js';
import { FrozenView } from './frozen-view.js';
import { JournalFile } from './journal-file.js';
import { lineBody } from '../format/journal-line.js';
import { asideName, droppedName } from '../format/layout.js';
import type { JournalHolder } from './open-journals.js';
import type { Recovered } from './read-database.js';
import type { GenerationStart, StoreContext } from './store-context.js';

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
  /** What this process writes to; none before its first commit. */
  #journal: JournalFile | undefined;
  #generation: number;
  /** Whether the directory is there. */
  #exists: boolean;
  #onDisk: number;
  /** Up to which commit the journal says that it is on disk. */
  #noted: number;
  #latest: StoredTime;
  #noteDue = false;
  /** Whether the journal is to be closed until it is needed again. */
  #restDue = false;
  #switch: Switch | undefined;
  #running: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  #stopping = false;
  #failure: StorageError | undefined;
  /**
   * A sync of the directory failed: nothing is lost, but what is seen there may not be on the disk,
   * so it is not marked as closed.
   */
  #inDoubt = false;
  #snapshotBytes: number;
  /** Bytes in the journals behind the snapshot, but for the one being written. */
  #journalBytes: number;
  #retryBytes = 0;

  constructor(name: string, context: StoreContext, recovered?: Recovered) {
    this.name = name;
    this.context = context;
    this.directory = join(context.root, directoryOf(name));
    this.table = recovered?.table ?? new RowTable();
    this.#exists = recovered !== undefined;
    this.#generation = recovered?.generation ?? 0;
    this.#onDisk = this.#noted = recovered?.last ?? 0;
    this.#latest = recovered?.time ?? { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };
    this.#snapshotBytes = recovered?.snapshotBytes ?? 0;
    this.#journalBytes = recovered?.journalBytes ?? 0;
  }

  /** Whether it has a directory. */
  get exists(): boolean {
    return this.#exists;
  }

  /** Whether there is anything to remember of it: a database that wrote nothing is forgotten. */
  get isKept(): boolean {
    return (
      this.#exists ||
      this.#failure !== undefined ||
      this.#queue.size > 0 ||
      this.#running !== undefined ||
      this.#views.size > 0
    );
  }

  get mayRest(): boolean {
    return this.#journal?.isOpen === true && this.#running === undefined && this.#compacting === undefined;
  }

  rest(): void {
    this.#restDue = true;
    this.#wake();
  }

  /** The number of the last commit that is on disk. */
  get onDisk(): number {
    return this.#onDisk;
  }

  /** Hands work to the next group; answers once what it wrote, and what it rests on, is on disk. */
  submit<A>(judge: Judge<A>, signal?: AbortSignal): Promise<A> {
    const answer = this.#queue.add(judge, signal);
    this.#wake();
    return answer;
  }

  /** The rows as they are now, to be read while commits go on. */
  freeze(): FrozenView {
    const view = new FrozenView(this.table, (done) => this.#views.delete(done));
    this.#views.add(view);
    return view;
  }

  /**
   * An idle owner says in the journal what is on disk: damage at its end is then known to be
   * damage.
   */
  note(): void {
    if (this.#journal?.isOpen !== true || this.#noted === this.#onDisk || this.#failure !== undefined) return;
    this.#noteDue = true;
    this.#wake();
  }

  /** No more writing: what waits fails with this. Readers stay. */
  closeForWriting(error: StorageError): void {
    this.#failure ??= error;
    this.#queue.failAll(this.#failure);
  }

  /** Waits for what is under way; compaction is given up. */
  async settle(): Promise<void> {
    this.#stopping = true;
    await this.#compacting;
    while (this.#running !== undefined) await this.#running;
  }

  /**
   * Waits for what is under way and marks the end. What fails here loses nothing: the next start
   * takes longer.
   */
  async close(): Promise<void> {
    await this.settle();
    this.#stopping = false;
    const journal = this.#journal;
    if (journal !== undefined) {
      this.#journal = undefined;
      this.#journalBytes += journal.bytes;
      try {
        await this.#end(journal);
      } catch (error) {
        this.context.warn(
          `${journal.path} could not be given its end mark: ${reasonOf(error)}. The next start recovers it as after a crash.`,
        );
      } finally {
        await journal.close().catch(() => undefined);
      }
    }
    this.context.journals.release(this);
  }

  /** One that rests has its end mark already. */
  async #end(journal: JournalFile): Promise<void> {
    if (!journal.isOpen || this.#failure !== undefined || this.#inDoubt) return;
    await journal.append([lineBody({ kind: 'end', onDisk: this.#onDisk, ahead: this.context.time.ahead() })]);
    await journal.sync();
    this.#noted = this.#onDisk;
  }

  /**
   * Gives the descriptor of the journal away. It ends as if it were closed for good: whatever comes
   * then is written behind the end mark.
   */
  async #restNow(): Promise<void> {
    this.#restDue = false;
    const journal = this.#journal;
    try {
      if (journal !== undefined) await this.#end(journal);
    } catch (error) {
      this.closeForWriting(unavailable(this.#closedForWriting(), error));
    }
    await journal?.close().catch(() => undefined);
    this.context.journals.release(this);
  }

  // ─── the loop

  #wake(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // callers that were answered in the last turn come again in this one
    for (await setImmediate(); this.#isDue(); await setImmediate()) {
      if (this.#failure === undefined)
        await this.#turn().catch((error: unknown) =>
          this.closeForWriting(unavailable(this.#closedForWriting(), error)),
        );
      else {
        this.#queue.failAll(this.#failure);
        this.#switch?.reject(this.#failure);
        this.#switch = undefined;
        this.#noteDue = false;
      }
      this.#restDue ||= this.context.journals.isWanted(this);
      if (this.#restDue && this.#compacting === undefined) await this.#restNow();
    }
    // in the same turn as the last look: whoever comes after it starts anew
    this.#running = undefined;
    // somebody may have come for the place since the last turn
    if (this.context.journals.isWanted(this)) this.rest();
    this.context.onIdle(this.name);
  }

  #isDue(): boolean {
    return (
      this.#queue.size > 0 ||
      this.#noteDue ||
      this.#switch !== undefined ||
      (this.#restDue && this.#compacting === undefined)
    );
  }

  async #turn(): Promise<void> {
    if (this.#switch !== undefined) await this.#begin(this.#switch);
    const group = new CommitGroup(this.table, this.#onDisk);
    group.fill(this.#queue, this.context.time);
    const ready = group.answerReady(this.context.verifyOwner);
    if (group.lines.length > 0) await this.#write(group);
    else if (this.#noteDue && this.#journal?.isOpen === true) await this.#writeNote(this.#journal);
    this.#noteDue = false;
    await ready;
  }

  async #write(group: CommitGroup): Promise<void> {
    let journal: JournalFile;
    try {
      journal = await this.#openJournal();
    } catch (error) {
      const failed = unavailable(`Nothing was written to ${this.directory}`, error);
      if (error instanceof SyncFailure) this.closeForWriting(unavailable(this.#closedForWriting(), error));
      return group.fail(failed, failed);
    }
    try {
      await journal.append(group.lines);
      await journal.sync();
      await this.context.verifyOwner();
    } catch (error) {
      this.closeForWriting(unavailable(this.#closedForWriting(), error));
      return group.fail(
        outcomeUnknown(`${journal.path} could not be written`, error),
        unavailable(`What the answer rests on could not be written to ${journal.path}`, error),
      );
    }
    this.#apply(group);
    group.answer();
    this.#compactIfDue();
  }

  #apply(group: CommitGroup): void {
    this.#noted = this.#onDisk;
    this.#onDisk = group.last;
    if (group.latest.time >= this.#latest.time) this.#latest = group.latest;
    for (const view of this.#views) for (const { address } of group.effects) view.keep(address);
    this.table.apply(group.effects);
    this.context.hints.changed(
      this.name,
      group.effects.map(({ address }) => address),
    );
  }

  async #writeNote(journal: JournalFile): Promise<void> {
    await journal.append([lineBody({ kind: 'note', onDisk: this.#onDisk })]);
    await journal.sync();
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
   * The first journal of this process. A new database appears as a whole: a directory under another
   * name, renamed once its journal is on disk.
   */
  async #createJournal(): Promise<JournalFile> {
    const { fileSystem } = this.context;
    await this.context.verifyOwner();
    if (this.#exists) {
      const journal = await JournalFile.create(
        fileSystem,
        this.directory,
        this.#beginAt(this.#generation + 1),
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

  #beginAt(generation: number): Parameters<typeof JournalFile.create>[2] {
    return { database: this.name, generation, after: this.#onDisk };
  }

  async #createDirectory(): Promise<JournalFile> {
    const { fileSystem, root, verifyOwner } = this.context;
    const aside = join(root, asideName('new'));
    await fileSystem.makeDirectory(aside);
    let journal: JournalFile | undefined;
    try {
      journal = await JournalFile.create(fileSystem, aside, this.#beginAt(1));
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
      // its name may never reach the disk, however often it is synced: the next one is a new name
      await journal.close().catch(() => undefined);
      await fileSystem
        .rename(this.directory, join(root, droppedName(basename(this.directory))))
        .catch(() => undefined);
      throw error;
    }
  }

  #compactIfDue(): void {
    const journalBytes = this.#journalBytes + (this.#journal?.bytes ?? 0);
    const { ratio, minimumBytes } = this.context.compaction;
    if (this.#compacting !== undefined || this.#stopping || this.#failure !== undefined) return;
    if (journalBytes < Math.max(minimumBytes, this.#snapshotBytes * ratio, this.#retryBytes)) return;
    this.#compacting = this.#compact().then(
      () => {
        this.#compacting = undefined;
        this.#retryBytes = 0;
        this.#afterCompaction();
      },
      (error: unknown) => {
        this.#compacting = undefined;
        this.#inDoubt ||= error instanceof SyncFailure;
        this.#retryBytes = this.#inDoubt ? Number.POSITIVE_INFINITY : journalBytes * 2;
        if (!this.#stopping)
          this.context.warn(
            `${this.directory} could not be compacted: ${reasonOf(error)}. Its journals are kept, and it goes on.`,
          );
        this.#afterCompaction();
      },
    );
  }

  /** A journal does not rest while its database is compacted. */
  #afterCompaction(): void {
    if (this.#restDue || this.context.journals.isWanted(this)) this.rest();
  }

  /** Writes what was found on opening as a new generation. It is on disk when it answers. */
  async recover(): Promise<void> {
    const { fileSystem, time } = this.context;
    // from here on the time that passes while nobody has it open can be told
    const ahead = time.ahead();
    if (ahead !== undefined && Number.isFinite(this.#latest.time)) this.#latest = ahead;
    try {
      // the names that were found are on disk before there is one more: else a loss of power could
      // leave the new one without those before it
      await synced(this.directory, fileSystem.syncDirectory(this.directory));
      await this.context.journals.acquire(this);
      const compacting = this.#compact();
      // no end mark before all of it is on disk
      this.#compacting = compacting.catch(() => undefined);
      await compacting;
    } catch (error) {
      if (this.#journal === undefined) this.context.journals.release(this);
      // the next start has to recover again: no end mark, whatever else is closed cleanly
      this.#inDoubt = true;
      throw unavailable(`What was recovered in ${this.directory} could not be written`, error);
    } finally {
      this.#compacting = undefined;
      this.#afterCompaction();
    }
  }

  /** Begins a new generation whose snapshot holds everything up to now. */
  async #compact(): Promise<void> {
    this.#snapshotBytes = await compact(this, this.#generation + 1, () => {
      if (this.#stopping || this.#failure !== undefined)
        throw storageError('STORAGE_UNAVAILABLE', `${this.directory} closes: compaction stops.`, {});
    });
    this.#journalBytes = 0;
  }

  /**
   * Sends the commits from the next group on to this journal. What was written before is on disk
   * then, and the rows hold it.
   */
  switchTo(journal: JournalFile): Promise<GenerationStart> {
    return new Promise((resolve, reject) => {
      this.#switch = { journal, resolve, reject };
      this.#wake();
    });
  }

  async #begin({ journal, resolve, reject }: Switch): Promise<void> {
    this.#switch = undefined;
    const before = this.#journal;
    try {
      if (before !== undefined) {
        await before.append([
          lineBody({ kind: 'next', generation: journal.generation, onDisk: this.#onDisk }),
        ]);
        await before.sync();
        this.#noted = this.#onDisk;
      }
    } catch (error) {
      reject(error);
      throw error;
    }
    await before?.close().catch(() => undefined);
    this.#journalBytes += before?.bytes ?? 0;
    this.#journal = journal;
    this.#generation = journal.generation;
    resolve({ view: this.freeze(), upTo: this.#onDisk, time: this.#latest });
  }
}
