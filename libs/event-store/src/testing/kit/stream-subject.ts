/** What a clause works with: an event store of one tenant, on a storage on a new provider. */
import assert from 'node:assert/strict';
import {
  EventStore,
  type AnyStream,
  type EventStoreOptions,
  type EventStream,
  type StreamLogEntry,
} from '@kvent/event-store/core';
import {
  defineState,
  type KeyValueStorage,
  type KeyValueStore,
  type StorageProvider,
} from '@kvent/key-value-storage/core';
import { systemClock, type RawRow } from '@kvent/key-value-storage/provider';
import { locate } from '@kvent/key-value-storage/internal';
import {
  StoreSubject,
  type Abilities,
  type OpenTransaction,
  type ManualClock,
  type ProviderUnderTest,
} from '@kvent/key-value-storage/testing';
import { Ledger, type LedgerStream } from './ledger.js';

export interface StreamUnderTest extends ProviderUnderTest {
  /**
   * 'off': calls of one process do not wait for each other: results must not depend on it. @default
   * 'on'
   */
  readonly locks?: 'on' | 'off';
}

/** Breaks the stream of a subject on purpose. */
export type StreamWrapper = (stream: LedgerStream, subject: StreamSubject) => LedgerStream;

/** JSON, so that every provider can store it, but not what Kvent writes: decoding fails. */
export const unreadable = '{"$date":7}';

export class StreamSubject {
  /** The log entries of all event stores. */
  readonly entries: StreamLogEntry[] = [];
  readonly #subject: StoreSubject;
  readonly #broken: StreamWrapper | undefined;
  readonly #locks: 'on' | 'off';
  #store: EventStore | undefined;

  constructor(under: StreamUnderTest, broken?: StreamWrapper) {
    this.#subject = new StoreSubject(under);
    this.#broken = broken;
    this.#locks = under.locks ?? 'on';
  }

  async start(): Promise<void> {
    await this.#subject.start();
    this.#prepare();
  }

  async finish(): Promise<void> {
    await this.#store?.idle();
    await this.#subject.finish();
  }

  async close(): Promise<void> {
    await this.#store?.idle();
    await this.#subject.close();
  }

  get abilities(): Abilities {
    return this.#subject.abilities;
  }
  get clock(): ManualClock {
    return this.#subject.clock;
  }
  get provider(): StorageProvider {
    return this.#subject.provider;
  }
  get storage(): KeyValueStorage {
    return this.#subject.storage;
  }
  /** A store for states that are committed with streams. */
  get things(): KeyValueStore<{ readonly n: number; readonly text?: string }> {
    return this.#subject.store();
  }
  /** The definition of `things`. */
  readonly thing = defineState<{ readonly n: number; readonly text?: string }>('thing');
  /**
   * A transaction of the engine, with the storage inside it; rolled back if a clause leaves it
   * open.
   */
  async transaction(): Promise<OpenTransaction & { readonly storage: KeyValueStorage }> {
    return await this.#subject.transaction();
  }
  get tenant(): string {
    return this.#subject.tenant;
  }
  get database(): string {
    return `tenant:${this.tenant}`;
  }
  otherTenant(): string {
    return this.#subject.otherTenant();
  }

  get store(): EventStore {
    if (this.#store === undefined) throw new Error('The subject was not started.');
    return this.#store;
  }

  /** The stream under test. */
  get ledger(): LedgerStream {
    return this.stream(Ledger);
  }

  /** The same streams with another definition. */
  stream<D extends AnyStream>(definition: D, store: EventStore = this.store): EventStream<D> {
    const stream = store.stream(definition);
    // the definitions of the kit have the same events
    return (this.#broken?.(stream as unknown as LedgerStream, this) ?? stream) as EventStream<D>;
  }

  /** Another event store on the same storage; for streams it is like another process. */
  newEventStore(options: EventStoreOptions = {}): EventStore {
    const clock = this.abilities.clock ? this.clock : systemClock;
    return new EventStore(this.storage, {
      clock,
      observer: { observe: (entry) => void this.entries.push(entry) },
      ...options,
    });
  }

  /** Closes the storage, and opens its data again. */
  async reopen(): Promise<void> {
    await this.#store?.idle();
    await this.#subject.reopen();
    this.#prepare();
  }

  /** Work that runs while the clause continues; its error is thrown where it is awaited. */
  readonly inBackground = <R>(work: Promise<R>): Promise<R> => {
    work.catch(() => undefined);
    return work;
  };

  /**
   * Waits for work while moving a manual clock, no faster than the storage commits, so that nothing
   * expires too early.
   */
  readonly whileTimePasses = async <R>(work: Promise<R>): Promise<R> => {
    let settled = false;
    const end = (): void => void (settled = true);
    work.then(end, end);
    while (this.abilities.clock && !settled) {
      await this.things.set('time passes', { n: 0 });
      await this.clock.advance(20);
    }
    return await work;
  };

  /** The log entries of one kind. */
  entriesOf<E extends StreamLogEntry['event']>(event: E): readonly Extract<StreamLogEntry, { event: E }>[] {
    return this.entries.filter(
      (entry): entry is Extract<StreamLogEntry, { event: E }> => entry.event === event,
    );
  }

  /** The stored rows of one kind: 'event', 'snapshot', 'lease' … */
  async rows(kind: string): Promise<readonly RawRow[]> {
    const found: RawRow[] = [];
    for await (const raw of this.provider.administration.export(this.database))
      if (raw.container.startsWith(`${kind}:`)) found.push(raw);
    return found;
  }

  /** Changes the stored rows of a kind, as a faulty tool would. */
  async damageRows(kind: string, change: (text: string, index: number) => string): Promise<void> {
    const rows = await this.rows(kind);
    assert.ok(rows.length > 0, `there are no rows of the kind '${kind}'`);
    const damaged = rows.map((raw, index) => {
      assert.equal(raw.row.value.kind, 'json');
      const text = raw.row.value.kind === 'json' ? change(raw.row.value.text, index) : '';
      return { ...raw, row: { ...raw.row, value: { kind: 'json', text } as const } };
    });
    await this.provider.administration.import(this.database, damaged);
  }

  #prepare(): void {
    this.#store = this.newEventStore();
    if (this.#locks === 'off') removeLocks(this.storage);
  }
}

function removeLocks(storage: KeyValueStorage): void {
  const { access } = locate(storage, { what: 'test', scope: 'shared', provider: undefined });
  const none: Pick<(typeof access)['locks'], 'tryAcquire' | 'acquire' | 'release'> = {
    tryAcquire: () => true,
    acquire: async () => true,
    release: () => undefined,
  };
  Object.assign(access.locks, none);
}
