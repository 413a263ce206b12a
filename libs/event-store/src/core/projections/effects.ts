/** The changes that the handler of some events asks for: read once, folded in memory. */
import type { AtomicBatch, Entry, Key } from '@kvent/key-value-storage/core';
import { invalidOption, invalidState, limits, storageError } from '@kvent/key-value-storage/provider';
import {
  inspect,
  isPromise,
  refusedPromise,
  rowNameOf,
  rowsOf,
  rowsPerEntry,
} from '@kvent/key-value-storage/internal';
import type { FeedEvent } from '../feed/event-feed.js';
import type { UntypedStream } from '../feed/read-feed.js';
import type { ProjectionContext, ProjectionHandler, ResolvedProjection } from './projection-definition.js';
import type { AnyStore, GenerationStates } from './generation-states.js';
import type { PartEffects } from './tenant-writer.js';

/** Rows of a batch, but for that of the checkpoint. */
const rowsMax = limits.batchEntriesMax - 1;

/** No entry: before the first event, and after a removal. */
const absent = Symbol('absent');
type Fold = (value: unknown) => unknown;

interface AffectedRow {
  readonly key: Key;
  readonly folds: Fold[];
}

/** A store of the tenant, and its affected rows by their names. */
interface AffectedStore {
  readonly store: AnyStore;
  readonly rows: Map<string, AffectedRow>;
  readonly rowsPerEntry: number;
}

export class Effects implements PartEffects {
  readonly #projection: Pick<ResolvedProjection, 'name' | 'provider'>;
  readonly #handler: ProjectionHandler;
  readonly #generation: Pick<GenerationStates, 'storeOf' | 'record'>;
  readonly #tenant: string | undefined;
  /**
   * By the store that the handler has, and by the state: two stores of one state share its rows.
   */
  readonly #stores = new Map<AnyStore, AffectedStore>();
  readonly #states = new Map<unknown, AffectedStore>();
  /** Rows of a batch for what is affected, and for the event that affected most. */
  #rows = 0;
  #mostRows = 0;
  #added = false;

  constructor(
    projection: Pick<ResolvedProjection, 'name' | 'provider'>,
    handler: ProjectionHandler,
    tenant: string | undefined,
    generation: Pick<GenerationStates, 'storeOf' | 'record'>,
  ) {
    this.#projection = projection;
    this.#handler = handler;
    this.#generation = generation;
    this.#tenant = tenant;
  }

  /** As a guess from the events before: without it, the batch would be refused, and halved. */
  get isFull(): boolean {
    return this.#rows > 0 && this.#rows + this.#mostRows > rowsMax;
  }

  apply(event: FeedEvent<UntypedStream>): void | Promise<void> {
    const before = this.#rows;
    const applied = this.#handler(event, this.#context);
    const note = (): void => {
      this.#mostRows = Math.max(this.#mostRows, this.#rows - before);
    };
    return applied === undefined ? note() : applied.then(note);
  }

  readonly #context: ProjectionContext = {
    change: (store, key, fold, options) => {
      const initial = options?.initial;
      this.#add(store, key, (value) => {
        if (value !== absent) return fold(value as never);
        if (initial === undefined)
          throw storageError(
            'KEY_NOT_FOUND',
            `There is no entry ${inspect(key)} to change, and no initial value.`,
            { key },
          );
        const first: unknown = typeof initial === 'function' ? (initial as () => unknown)() : initial;
        if (isPromise(first)) throw refusedPromise('change: initial', first);
        return fold(first as never);
      });
    },
    remove: (store, key) => this.#add(store as AnyStore, key, () => absent),
  };

  /**
   * Reads the rows, applies the changes, and adds what differs to the batch; returns its number.
   * What a handler asks for later would be lost: `INVALID_STATE`.
   */
  async addTo(batch: AtomicBatch, signal: AbortSignal): Promise<number> {
    this.#added = true;
    await this.#generation.record(Array.from(this.#states.values(), ({ store }) => store));
    const counts = await Promise.all(
      [...this.#states.values()].map((each) => this.#addStore(batch, each, signal)),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #add(given: AnyStore, key: Key, fold: Fold): void {
    if (this.#added)
      throw invalidState(
        `A handler of the projection '${this.#projection.name}' has changed ${inspect(key)} after it had ended: await all work in it.`,
      );
    const { store, rows, ...each } = this.#storeOf(given);
    const name = rowNameOf(rowsOf(store).address(key));
    let row = rows.get(name);
    if (row === undefined) {
      rows.set(name, (row = { key, folds: [] }));
      this.#rows += each.rowsPerEntry;
    }
    row.folds.push(fold);
  }

  #storeOf(given: AnyStore): AffectedStore {
    let affected = this.#stores.get(given);
    if (affected !== undefined) return affected;
    const own = this.#generation.storeOf(given);
    const store: AnyStore = this.#tenant === undefined ? own : own.forTenant(this.#tenant);
    const stateRows = rowsOf(store);
    const { definition } = stateRows;
    if (definition.provider !== this.#projection.provider)
      throw anotherProvider(this.#projection, definition);
    affected = this.#states.get(definition) ?? {
      store,
      rows: new Map<string, AffectedRow>(),
      rowsPerEntry: rowsPerEntry(stateRows),
    };
    this.#stores.set(given, affected);
    this.#states.set(definition, affected);
    return affected;
  }

  async #addStore(batch: AtomicBatch, { store, rows }: AffectedStore, signal: AbortSignal): Promise<number> {
    const affected = [...rows.values()];
    let changes = 0;
    for (let from = 0; from < affected.length; from += limits.readAddressesMax) {
      const part = affected.slice(from, from + limits.readAddressesMax);
      const entries = await store.getMany(
        part.map(({ key }) => key as never),
        { signal },
      );
      for (const [index, row] of part.entries())
        if (addRow(batch, store, row, entries[index] as Entry<unknown> | undefined)) changes += 1;
    }
    return changes;
  }
}

function anotherProvider(
  projection: Pick<ResolvedProjection, 'name' | 'provider'>,
  state: { readonly name: string; readonly provider?: string | undefined },
) {
  const { name, provider } = projection;
  const nameOf = (named: string | undefined): string =>
    named === undefined ? 'the main provider' : `the provider '${named}'`;
  return invalidOption(
    `The projection '${name}' has its checkpoints on ${nameOf(provider)}, and cannot change '${state.name}' of ${nameOf(state.provider)} in the same commit. Its states must be on one provider: @Projection(…, { provider: '…' }).`,
  );
}

/**
 * What was read is checked too, so that an entry that the application itself writes is not
 * overwritten. Returns whether there is a change.
 */
function addRow(
  batch: AtomicBatch,
  store: AnyStore,
  { key, folds }: AffectedRow,
  entry: Entry<unknown> | undefined,
): boolean {
  const before: unknown = entry === undefined ? absent : entry.value;
  const after = folds.reduce((value, fold) => {
    const folded = fold(value);
    if (isPromise(folded)) throw refusedPromise(`The change of the entry ${inspect(key)}`, folded);
    return folded;
  }, before);
  if (after === before) return false;
  if (entry === undefined) batch.checkAbsent(store, key);
  else batch.check(store, entry);
  if (after === absent) batch.delete(store, key);
  else batch.set(store, key, after);
  return true;
}
