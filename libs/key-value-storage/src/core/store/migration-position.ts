/**
 * How far a migration has come: a row in the database that it reads, so that another run, of
 * another process too, continues there. It has a time to live: a run that is repeated much later
 * begins anew.
 */
import { storageError } from '../base/errors.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { Address } from '../port/storage-provider.js';
import type { ResolvedState } from './state-definition.js';

const positionTtlMs = 24 * 60 * 60 * 1_000;

export class MigrationPosition {
  readonly #access: StorageAccess;
  readonly #address: Address;
  readonly #signal: AbortSignal | undefined;
  /** The version of the row; 'absent' where there is none, `undefined` where another run has it. */
  #version: string | 'absent' | undefined = 'absent';

  /** `name`: of what is migrated to what, as an encoded key. */
  constructor(
    access: StorageAccess,
    state: ResolvedState,
    database: string,
    name: string,
    signal: AbortSignal | undefined,
  ) {
    this.#access = access;
    this.#address = { database, container: taskContainerOf(state), entity: state.entity, key: name };
    this.#signal = signal;
  }

  /** The encoded key that an earlier run has reached. `STORAGE_CORRUPT` for a damaged row. */
  async read(): Promise<string | undefined> {
    const { row } = await this.#access.readOne(this.#address, { signal: this.#signal });
    if (row === undefined) return undefined;
    this.#version = row.version;
    const after = row.value.kind === 'json' ? textIn(row.value.text) : undefined;
    if (after !== undefined) return after;
    const { database, container, entity, key } = this.#address;
    const place = `${database}/${container}/${entity}/${key}`;
    throw storageError('STORAGE_CORRUPT', `The position of a migration at ${place} cannot be read.`, {
      place,
    });
  }

  /** Two runs at a time do no harm: the later one keeps the row, and this one continues without. */
  async save(after: string): Promise<void> {
    const value = { kind: 'json', text: JSON.stringify(after) } as const;
    await this.#commit({ kind: 'put', address: this.#address, value, ttl: positionTtlMs });
  }

  async remove(): Promise<void> {
    if (this.#version !== 'absent') await this.#commit({ kind: 'delete', address: this.#address });
  }

  async #commit(change: Parameters<StorageAccess['commit']>[1]['changes'][number]): Promise<void> {
    if (this.#version === undefined) return;
    const expected = this.#version === 'absent' ? ('absent' as const) : { version: this.#version };
    const checks = [{ address: this.#address, expected }];
    const batch = { checks, changes: [change] };
    const result = await this.#access.commit(this.#address.database, batch, { signal: this.#signal });
    this.#version = result.outcome === 'committed' ? result.version : undefined;
  }
}

/** Where the work on a state keeps its own rows. */
export const taskContainerOf = ({ container }: ResolvedState): string =>
  `task:${container.slice(container.indexOf(':') + 1)}`;

function textIn(text: string): string | undefined {
  try {
    const given: unknown = JSON.parse(text);
    return typeof given === 'string' ? given : undefined;
  } catch {
    return undefined;
  }
}
