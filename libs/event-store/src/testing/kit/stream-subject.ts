/**
 * What a clause of the streams works on: an event store of one tenant, on a storage opened on a
 * fresh provider.
 */
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
   * 'none': rivals of this process do not wait for each other in line. What is right must not rest
   * on it. @default 'kept'
   */
  readonly turns?: 'kept' | 'none';
}

/** Breaks the stream of a subject on purpose. */
export type StreamWrapper = (stream: LedgerStream, subject: StreamSubject) => LedgerStream;

/** JSON, so that every provider can hold it; but none that Kvent wrote: reading it back fails. */
export const unreadable = '{"$date":7}';

export class StreamSubject {
  /** What observers of the stores have heard. */
  readonly notices: StreamLogEntry[] = [];
  readonly #subject: StoreSubject;
  readonly #broken: StreamWrapper | undefined;
  readonly #turns: 'kept' | 'none';
  #store: EventStore | undefined;

  constructor(under: StreamUnderTest, broken?: StreamWrapper) {
    this.#subject = new StoreSubject(under);
    this.#broken = broken;
    this.#turns = under.turns ?? 'kept';
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
  /** A store for what is committed along with streams. */
  get things(): KeyValueStore<{ readonly n: number; readonly text?: string }> {
    return this.#subject.store();
  }
  /** What `things` holds. */
  readonly thing = defineState<{ readonly n: number; readonly text?: string }>('thing');
  /**
   * A transaction of the engine, the storage inside it, and how it ends. One that a clause leaves
   * open is rolled back.
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
    if (this.#store === undefined) throw new Error('The subject has not begun.');
    return this.#store;
  }

  /** The stream under test. */
  get ledger(): LedgerStream {
    return this.stream(Ledger);
  }

  /** The same streams under another definition. */
  stream<D extends AnyStream>(definition: D, store: EventStore = this.store): EventStream<D> {
    const stream = store.stream(definition);
    // the definitions of the kit have the same events
    return (this.#broken?.(stream as unknown as LedgerStream, this) ?? stream) as EventStream<D>;
  }

  /**
   * Another event store on the same storage: another part of the application, or another process,
   * as far as streams can tell.
   */
  another(options: EventStoreOptions = {}): EventStore {
    const clock = this.abilities.clock ? this.clock : systemClock;
    return new EventStore(this.storage, {
      clock,
      observer: { observe: (notice) => void this.notices.push(notice) },
      ...options,
    });
  }

  /** Closes the storage, and opens the data anew. */
  async reopen(): Promise<void> {
    await this.#store?.idle();
    await this.#subject.reopen();
    this.#prepare();
  }

  /**
   * Work that goes on while the clause looks at something else; what it fails with is heard where
   * it is awaited.
   */
  readonly meanwhile = <R>(work: Promise<R>): Promise<R> => {
    work.catch(() => undefined);
    return work;
  };

  /**
   * Waits for work that waits for the time, where time is moved by hand: no faster than the storage
   * commits, so that nothing expires meanwhile.
   */
  readonly passing = async <R>(work: Promise<R>): Promise<R> => {
    let settled = false;
    const end = (): void => void (settled = true);
    work.then(end, end);
    while (this.abilities.clock && !settled) {
      await this.things.set('time passes', { n: 0 });
      await this.clock.advance(20);
    }
    return await work;
  };

  /** What was told of this kind. */
  told<E extends StreamLogEntry['event']>(event: E): readonly Extract<StreamLogEntry, { event: E }>[] {
    return this.notices.filter(
      (notice): notice is Extract<StreamLogEntry, { event: E }> => notice.event === event,
    );
  }

  /** The rows of one kind as they lie in the provider: 'event', 'snapshot', 'lease' … */
  async rows(kind: string): Promise<readonly RawRow[]> {
    const found: RawRow[] = [];
    for await (const raw of this.provider.administration.export(this.database))
      if (raw.container.startsWith(`${kind}:`)) found.push(raw);
    return found;
  }

  /** The rows of a kind, changed and put back: as a careless hand would. */
  async spoil(kind: string, change: (text: string, index: number) => string): Promise<void> {
    const rows = await this.rows(kind);
    assert.ok(rows.length > 0, `there are no rows of the kind '${kind}'`);
    const spoilt = rows.map((raw, index) => {
      assert.equal(raw.row.value.kind, 'json');
      const text = raw.row.value.kind === 'json' ? change(raw.row.value.text, index) : '';
      return { ...raw, row: { ...raw.row, value: { kind: 'json', text } as const } };
    });
    await this.provider.administration.import(this.database, spoilt);
  }

  #prepare(): void {
    this.#store = this.another();
    if (this.#turns === 'none') takeTurnsAway(this.storage);
  }
}

function takeTurnsAway(storage: KeyValueStorage): void {
  const { access } = locate(storage, { what: 'test', scope: 'shared', provider: undefined });
  const none: Pick<(typeof access)['locks'], 'tryAcquire' | 'acquire' | 'release'> = {
    tryAcquire: () => true,
    acquire: async () => true,
    release: () => undefined,
  };
  Object.assign(access.locks, none);
}
