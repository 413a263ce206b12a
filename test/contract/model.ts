/**
 * A model of a provider: rows in a plain Map, with the rules of the contract written a second time,
 * without `evaluateBatch`, `RowTable` or other parts of providers. Slow and simple on purpose.
 */
import type { Batch, Change, CommitResult, Expected, StoredValue } from '@kvent/key-value-storage/provider';

export interface ModelRow {
  readonly version: string;
  readonly value: StoredValue;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  readonly ttlMs: number | undefined;
}

/** The result of a commit on the model: what is compared with the result of a provider. */
export type ModelResult =
  | {
      readonly outcome: 'committed';
      readonly rows: readonly {
        readonly existed: boolean;
        readonly number: bigint | undefined;
        readonly expiresAt: number | undefined;
      }[];
    }
  | { readonly outcome: 'conflict'; readonly key: string; readonly actual: string | undefined }
  | { readonly outcome: 'refused'; readonly key: string; readonly reason: string };

export class Model {
  readonly #rows = new Map<string, ModelRow>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  read(key: string): ModelRow | undefined {
    const row = this.#rows.get(key);
    return row === undefined || (row.expiresAt !== undefined && row.expiresAt <= this.#now())
      ? undefined
      : row;
  }

  keys(range: {
    readonly start?: string;
    readonly end?: string;
    readonly after?: string;
    readonly reverse?: boolean;
  }): readonly string[] {
    const { start, end, after, reverse = false } = range;
    const keys = [...this.#rows.keys()].filter((key) => this.read(key) !== undefined).sort();
    const inside = keys.filter(
      (key) => (start === undefined || key >= start) && (end === undefined || key < end),
    );
    const ordered = reverse ? inside.reverse() : inside;
    return after === undefined ? ordered : ordered.filter((key) => (reverse ? key < after : key > after));
  }

  commit({ version, checks, changes }: Batch): ModelResult {
    for (const { address, expected } of checks) {
      const row = this.read(address.key);
      if (!holds(expected, row)) return { outcome: 'conflict', key: address.key, actual: row?.version };
    }
    const after: [string, ModelRow | undefined][] = [];
    for (const change of changes) {
      const row = this.#changed(change, version);
      if (row === 'range' || row === 'type')
        return { outcome: 'refused', key: change.address.key, reason: row };
      after.push([change.address.key, row]);
    }
    const rows = after.map(([key, row], index) => {
      const [existed, kind] = [this.read(key) !== undefined, changes[index]?.kind];
      const kept = kind === 'delete' || (kind === 'renew' && !existed) ? undefined : row;
      return {
        existed,
        number: kept?.value.kind === 'number' ? kept.value.number : undefined,
        expiresAt: kept?.expiresAt,
      };
    });
    for (const [key, row] of after) {
      if (row === undefined) this.#rows.delete(key);
      else this.#rows.set(key, row);
    }
    return { outcome: 'committed', rows };
  }

  #changed(change: Change, version: string): ModelRow | undefined | 'range' | 'type' {
    const now = this.#now();
    const old = this.read(change.address.key);
    const written = (value: StoredValue, ttl: number | 'never' | 'keep', kept = old): ModelRow => ({
      version,
      value,
      updatedAt: now,
      expiresAt: ttl === 'keep' ? kept?.expiresAt : ttl === 'never' ? undefined : now + ttl,
      ttlMs: ttl === 'keep' ? kept?.ttlMs : ttl === 'never' ? undefined : ttl,
    });
    if (change.kind === 'delete') return undefined;
    if (change.kind === 'renew') {
      if (old?.expiresAt === undefined) return old;
      return { ...old, expiresAt: Math.max(old.expiresAt, now + change.ttlMs) };
    }
    if (change.kind === 'put') {
      const { ttl } = change;
      if (typeof ttl !== 'object') return written(change.value, ttl);
      const kept = ttl.of === undefined ? old : this.read(ttl.of.key);
      return written(change.value, kept === undefined ? ttl.keepElse : 'keep', kept);
    }
    if (old !== undefined && old.value.kind !== 'number') return 'type';
    const before = old?.value.kind === 'number' ? old.value.number : 0n;
    const number =
      change.kind === 'sum' ? before + change.operand : extreme(change.kind, before, change.operand);
    if (number !== BigInt.asIntN(64, number)) return 'range';
    if (change.floor !== undefined && number < change.floor && number < before) return 'range';
    if (change.ceiling !== undefined && number > change.ceiling && number > before) return 'range';
    return written({ kind: 'number', number }, old === undefined ? (change.ttlMs ?? 'never') : 'keep');
  }
}

const extreme = (kind: 'min' | 'max', a: bigint, b: bigint): bigint => (a < b === (kind === 'min') ? a : b);

function holds(expected: Expected, row: ModelRow | undefined): boolean {
  if (expected === 'absent') return row === undefined;
  if (expected === 'present') return row !== undefined;
  if ('version' in expected) return row?.version === expected.version;
  return row?.value.kind === 'number' && row.value.number === expected.number;
}

/** The result of a provider as a result of the model. */
export function modelResultOf(result: CommitResult): ModelResult | { readonly outcome: 'failed' } {
  switch (result.outcome) {
    case 'committed':
      return {
        outcome: 'committed',
        rows: result.rows.map(({ existed, number, expiresAt }) => ({ existed, number, expiresAt })),
      };
    case 'conflict':
      return { outcome: 'conflict', key: result.address.key, actual: result.actual };
    case 'refused':
      return { outcome: 'refused', key: result.address.key, reason: result.reason };
    case 'failed':
      return { outcome: 'failed' };
  }
}
