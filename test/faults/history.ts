/**
 * The oracle: which rows a database may contain, given its operations and their results. It is
 * independent of files.
 *
 * Operations of one database take effect in the order of their issue. So after a fault the database
 * contains the effects of a prefix of them: at least up to the last acknowledged or read operation
 * (law 2), and without those that failed with effect `none`. Each prefix is replayed with
 * `evaluateBatch`, which must return the results that were given. The stored rows must equal one of
 * the states.
 */
import type { StorageProvider } from '../../libs/key-value-storage/src/core.js';
import {
  evaluateBatch,
  isLive,
  type Batch,
  type CommitResult,
  type RawRow,
  type Row,
  type RowAddress,
} from '../../libs/key-value-storage/src/provider.js';

export type Work = Batch | 'drop';
type Rows = ReadonlyMap<string, Row>;

/** `waiting`: no result yet, or in doubt. `observed`: its rows were read. */
type State = 'waiting' | 'acknowledged' | 'observed' | 'none';

interface Issued {
  readonly work: Work;
  readonly now: number;
  readonly fate: State;
  readonly result?: CommitResult | undefined;
}

const nameOf = ({ container, entity, key }: RowAddress): string => `${container}/${entity}/${key}`;

/** The history of one database. */
export class History {
  #settled: Rows = new Map();
  #issued: Issued[] = [];

  /** A copy that continues independently. */
  clone(): History {
    const copy = new History();
    copy.#settled = this.#settled;
    copy.#issued = [...this.#issued];
    return copy;
  }

  get inDoubt(): number {
    return this.#issued.filter(({ fate: state }) => state === 'waiting').length;
  }

  /** Records an operation before it is called. The returned function records its result. */
  issue(
    work: Work,
    now: number,
  ): (state: Exclude<State, 'waiting' | 'observed'> | 'unknown', result?: CommitResult) => void {
    const index = this.#issued.push({ work, now, fate: 'waiting' }) - 1;
    const issued = this.#issued;
    return (state, result) => {
      if (issued !== this.#issued) {
        // A late result of a replaced process: it may acknowledge only what its successor found.
        const isStored =
          work !== 'drop' && [...this.#settled.values()].some(({ version }) => version === work.version);
        if (state === 'acknowledged' && !isStored && result?.outcome !== 'conflict')
          throw new Error('A write was acknowledged that the next process has not found.');
        return;
      }
      if (state !== 'unknown') issued[index] = { work, now, fate: state, result };
    };
  }

  /** Records that a row was read: its batch is on disk. */
  observe(row: Row): void {
    const index = this.#issued.findIndex(({ work }) => work !== 'drop' && work.version === row.version);
    const issued = this.#issued[index];
    if (issued?.fate === 'waiting') this.#issued[index] = { ...issued, fate: 'observed' };
    if (issued?.fate === 'none')
      throw new Error(`A row was read whose batch failed with effect none: version ${row.version}.`);
  }

  /** The rows if all operations take effect, as the base of the next batch. */
  latest(): Rows {
    const state = this.#replay(this.#issued.length);
    if (typeof state === 'string') throw new Error(state);
    return state;
  }

  /** Marks the last operations as in doubt again, because their files are damaged. */
  doubt(count: number): void {
    const from = this.#issued.length - count;
    this.#issued = this.#issued.map((issued, index) =>
      index < from ? issued : { ...issued, fate: 'waiting' },
    );
  }

  /**
   * Compares the stored rows with the possible states, and takes them as the new base. Returns how
   * many operations are missing.
   */
  settle(found: readonly RawRow[], now: number): number {
    const rows = new Map(found.map(({ row, ...address }) => [nameOf(address), row]));
    const least =
      this.#issued.findLastIndex(({ fate: state }) => state === 'acknowledged' || state === 'observed') + 1;
    const reasons: string[] = [];
    for (let length = this.#issued.length; length >= least; length -= 1) {
      const state = this.#replay(length);
      const reason = typeof state === 'string' ? state : difference(state, rows, now);
      if (reason === undefined) {
        const lost = this.#issued.length - length;
        this.#settled = rows;
        this.#issued = [];
        return lost;
      }
      reasons.push(`  with ${length} of ${this.#issued.length} operations (${least} are certain): ${reason}`);
    }
    throw new Error(`The stored rows are none of the possible states:\n${reasons.join('\n')}`);
  }

  /** The rows after the first `length` operations, or the result that would be different. */
  #replay(length: number): Rows | string {
    const rows = new Map(this.#settled);
    for (const { work, now, fate: state, result } of this.#issued.slice(0, length)) {
      if (state === 'none') continue;
      if (work === 'drop') {
        rows.clear();
        continue;
      }
      const time = result?.outcome === 'committed' ? result.time : now;
      const replayed = evaluateBatch(work, (address) => rows.get(nameOf(address)), time);
      if (state === 'acknowledged' && outcomeOf(replayed.result) !== outcomeOf(result)) {
        return `the result was ${outcomeOf(result)}, but on the rows before it, it is ${outcomeOf(replayed.result)}`;
      }
      for (const { address, row } of replayed.effects) {
        if (row === undefined) rows.delete(nameOf(address));
        else rows.set(nameOf(address), row);
      }
    }
    return rows;
  }
}

/** The result without its times; the time of a commit is checked on the rows. */
function outcomeOf(result: CommitResult | undefined): string {
  if (result?.outcome === 'conflict')
    return `conflict on ${nameOf(result.address)}, which is ${result.actual}`;
  if (result?.outcome === 'refused') return `refused on ${nameOf(result.address)}: ${result.reason}`;
  if (result?.outcome !== 'committed') return result?.outcome ?? 'nothing';
  return `committed ${result.rows.map(({ existed, number }) => `${existed} ${number}`).join(', ')}`;
}

function difference(expected: Rows, found: Rows, now: number): string | undefined {
  for (const [name, row] of expected) {
    if (!isLive(row, now)) continue;
    const other = found.get(name);
    if (other === undefined) return `${name} is missing`;
    if (describe(row) !== describe(other)) return `${name} is ${describe(other)}, expected ${describe(row)}`;
  }
  const extra = [...found.keys()].find((name) => !expected.has(name));
  return extra === undefined ? undefined : `${extra} is stored, expected nothing`;
}

function describe({ version, value, updatedAt, expiresAt, ttlMs }: Row): string {
  const text =
    value.kind === 'json'
      ? value.text
      : value.kind === 'number'
        ? String(value.number)
        : Buffer.from((value as { bytes: Uint8Array }).bytes).toString('hex');
  return `${version} ${value.kind} ${text.length > 60 ? `${text.slice(0, 30)}…(${text.length})…${text.slice(-30)}` : text} of ${updatedAt} until ${expiresAt} (${ttlMs})`;
}

/** All rows of a database. */
export async function exported(provider: StorageProvider, database: string): Promise<readonly RawRow[]> {
  const rows: RawRow[] = [];
  for await (const row of provider.administration.export(database)) rows.push(row);
  return rows;
}
