/** The subject of a clause of stores: a storage of one tenant, opened on a new provider. */
import assert from 'node:assert/strict';
import {
  defineBigCounter,
  defineCounter,
  defineState,
  openStorage,
  type CounterDefinition,
  type CounterOptions,
  type CounterStore,
  type Key,
  type KeyValueStorage,
  type KeyValueStore,
  type StateOptions,
  type StorageProvider,
} from '../../core.js';
import type { StoredValue } from '../../provider.js';
import type { Abilities } from './abilities.js';
import type { ManualClock } from './manual-clock.js';
import { Subject, type OpenTransaction, type ProviderUnderTest } from './subject.js';

/** The state that most clauses use. */
export interface Thing {
  readonly n: number;
  readonly text?: string;
}

export class StoreSubject {
  readonly #subject: Subject;
  readonly #wrap: (storage: KeyValueStorage) => KeyValueStorage;
  readonly tenant: string;
  #storage: KeyValueStorage | undefined;

  constructor(
    under: ProviderUnderTest,
    wrap: (storage: KeyValueStorage) => KeyValueStorage = (storage) => storage,
  ) {
    this.#subject = new Subject(under);
    this.#wrap = wrap;
    this.tenant = this.#subject.database().slice('tenant:'.length);
  }

  async start(): Promise<void> {
    await this.#subject.start(async (provider) => {
      this.#storage = this.#wrap(await openStorage(provider, { tenant: this.tenant }));
    });
  }

  async finish(): Promise<void> {
    await this.#subject.finish();
  }

  async close(): Promise<void> {
    await this.#subject.close();
  }

  get abilities(): Abilities {
    return this.#subject.abilities;
  }

  get clock(): ManualClock {
    return this.#subject.clock;
  }

  /** The provider that the storage has opened. */
  get provider(): StorageProvider {
    return this.#subject.provider;
  }

  get storage(): KeyValueStorage {
    if (this.#storage === undefined) throw new Error('The subject is not started.');
    return this.#storage;
  }

  /**
   * A transaction of the engine, with the storage inside it. `close` rolls it back if it is still
   * open.
   */
  async transaction(): Promise<OpenTransaction & { readonly storage: KeyValueStorage }> {
    const { transaction, commit, rollback } = await this.#subject.transaction();
    return { transaction, storage: this.storage.within(transaction), commit, rollback };
  }

  /** The name of another tenant. */
  otherTenant(name = 'other'): string {
    return this.#subject.database(name).slice('tenant:'.length);
  }

  /** The store of a state; the same name is the same state. */
  store<T = Thing>(name = 'thing', options: StateOptions = {}): KeyValueStore<T> {
    return this.storage.store(this.definition<T>(name, options));
  }

  definition<T = Thing>(name = 'thing', options: StateOptions = {}) {
    return defineState<T>(name, options);
  }

  /** A second storage over the same data, as another process has it. `close` closes it. */
  async openSecond(): Promise<KeyValueStorage> {
    let second: KeyValueStorage | undefined;
    await this.#subject.openSecond(async (provider) => {
      second = await openStorage(provider, { tenant: this.tenant });
    });
    return second as KeyValueStorage;
  }

  /** The counters of a definition; the same name is the same definition. */
  counter(name?: string, options?: CounterOptions): CounterStore {
    return this.storage.store(this.counterDefinition(name, options));
  }

  counterDefinition(name = 'views', options: CounterOptions = {}): CounterDefinition {
    return defineCounter(name, options);
  }

  bigCounter(name = 'big', options: CounterOptions<bigint> = {}): CounterStore<bigint> {
    return this.storage.store(defineBigCounter(name, options));
  }

  /**
   * Closes the storage, and opens the same data again, with a new provider if it has a location.
   */
  async reopen(): Promise<void> {
    await this.storage.close();
    await this.#subject.reopen(undefined, async (provider) => {
      this.#storage = this.#wrap(await openStorage(provider, { tenant: this.tenant }));
    });
  }

  /**
   * Changes the only row of a store as it is stored in the provider.
   */
  async corruptRow(
    change: (row: { key: string; text: string }) => { key?: string; value?: unknown; text?: string },
  ): Promise<void> {
    const { administration } = this.provider;
    const database = `tenant:${this.tenant}`;
    for await (const raw of administration.export(database)) {
      assert.equal(raw.row.value.kind, 'json');
      const before = { key: raw.key, text: raw.row.value.kind === 'json' ? raw.row.value.text : '' };
      const { key = raw.key, value, text = before.text } = change(before);
      // through the port, because an import refuses rows that cannot be read back
      const { container, entity } = raw;
      const stored = (value as StoredValue | undefined) ?? { kind: 'json', text };
      const corrupted = {
        kind: 'put',
        address: { container, entity, key },
        value: stored,
        ttl: 'never',
      } as const;
      const [result] = await this.provider.commit([
        { database, version: raw.row.version, checks: [], changes: [corrupted] },
      ]);
      assert.equal(result?.outcome, 'committed');
    }
  }
}

/** All items of a list. */
export async function collect<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export const keysOf = (entries: readonly { readonly key: Key }[]): readonly Key[] =>
  entries.map(({ key }) => key);
