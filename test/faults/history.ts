/**
 * The oracle: what a database may hold, given what was asked of it and what was answered. It knows
 * nothing of files.
 *
 * Operations of one database take effect in the order in which they were issued, so after a fault
 * it holds the effects of some first part of them: at least up to the last one that was
 * acknowledged, or that an answer rested on (law 2), at most all of them, never those that failed
 * with effect 'none'. Each part is replayed with `evaluateBatch`, which must give the answers that
 * were given; what is found must be one of the states.
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

/** 'waiting': not answered, or in doubt. 'seen': an answer rested on it. */
type Fate = 'waiting' | 'acknowledged' | 'seen' | 'none';

interface Issued {
  readonly work: Work;
  readonly now: number;
  readonly fate: Fate;
  readonly result?: CommitResult | undefined;
}

const nameOf = ({ container, entity, key }: RowAddress): string => `${container}/${entity}/${key}`;

/** What is known of one database. */
export class History {
  #settled: Rows = new Map();
  #issued: Issued[] = [];

  /** For a second future of the same past. */
  clone(): History {
    const copy = new History();
    copy.#settled = this.#settled;
    copy.#issued = [...this.#issued];
    return copy;
  }

  get inDoubt(): number {
    return this.#issued.filter(({ fate }) => fate === 'waiting').length;
  }

  /** Notes an operation before it is asked for; the answer notes what became of it. */
  issue(
    work: Work,
    now: number,
  ): (fate: Exclude<Fate, 'waiting' | 'seen'> | 'unknown', result?: CommitResult) => void {
    const index = this.#issued.push({ work, now, fate: 'waiting' }) - 1;
    const issued = this.#issued;
    return (fate, result) => {
      if (issued !== this.#issued) {
        // A process that was robbed answers late: it may acknowledge only what its successor has
        // found.
        const there =
          work !== 'drop' && [...this.#settled.values()].some(({ version }) => version === work.version);
        if (fate === 'acknowledged' && !there && result?.outcome !== 'conflict')
          throw new Error('A write was acknowledged that the next process has not found.');
        return;
      }
      if (fate !== 'unknown') issued[index] = { work, now, fate, result };
    };
  }

  /** A row was answered: what wrote it is on disk. */
  saw(row: Row): void {
    const index = this.#issued.findIndex(({ work }) => work !== 'drop' && work.version === row.version);
    const issued = this.#issued[index];
    if (issued?.fate === 'waiting') this.#issued[index] = { ...issued, fate: 'seen' };
    if (issued?.fate === 'none')
      throw new Error(`A row was answered whose batch had failed without effect: version ${row.version}.`);
  }

  /** The rows as they are when nothing is in doubt: what a test builds its next batch on. */
  latest(): Rows {
    const state = this.#replay(this.#issued.length);
    if (typeof state === 'string') throw new Error(state);
    return state;
  }

  /** The last acknowledgements are in doubt again: what they were written on is damaged. */
  doubt(count: number): void {
    const from = this.#issued.length - count;
    this.#issued = this.#issued.map((issued, index) =>
      index < from ? issued : { ...issued, fate: 'waiting' },
    );
  }

  /**
   * Holds what was found against what may be there; from then on it is certain. Answers how many
   * operations are not there.
   */
  settle(found: readonly RawRow[], now: number): number {
    const rows = new Map(found.map(({ row, ...address }) => [nameOf(address), row]));
    const least = this.#issued.findLastIndex(({ fate }) => fate === 'acknowledged' || fate === 'seen') + 1;
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
    throw new Error(`What is stored is none of the states that are possible:\n${reasons.join('\n')}`);
  }

  /** The rows after the first operations, or which answer would have been another. */
  #replay(length: number): Rows | string {
    const rows = new Map(this.#settled);
    for (const { work, now, fate, result } of this.#issued.slice(0, length)) {
      if (fate === 'none') continue;
      if (work === 'drop') {
        rows.clear();
        continue;
      }
      const time = result?.outcome === 'committed' ? result.time : now;
      const again = evaluateBatch(work, (address) => rows.get(nameOf(address)), time);
      if (fate === 'acknowledged' && outcomeOf(again.result) !== outcomeOf(result)) {
        return `answered was ${outcomeOf(result)}, but by what is stored before it, it is ${outcomeOf(again.result)}`;
      }
      for (const { address, row } of again.effects) {
        if (row === undefined) rows.delete(nameOf(address));
        else rows.set(nameOf(address), row);
      }
    }
    return rows;
  }
}

/** The answer without its times: the commit's is checked on the rows. */
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
  const more = [...found.keys()].find((name) => !expected.has(name));
  return more === undefined ? undefined : `${more} is there, expected is nothing`;
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

/** Everything that a provider holds of a database. */
export async function exported(provider: StorageProvider, database: string): Promise<readonly RawRow[]> {
  const rows: RawRow[] = [];
  for await (const row of provider.administration.export(database)) rows.push(row);
  return rows;
}
