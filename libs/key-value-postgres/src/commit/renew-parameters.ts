/**
 * Batches that renew one row and wait for nobody: as what `renewRows` takes, and its answers as
 * theirs.
 */
import type { Batch, CommitResult } from '@kvent/key-value-storage/provider';
import { unavailable } from '../connections/failure.js';
import type { Columns } from '../sql/decode-row.js';
import { milliseconds } from '../sql/statement.js';
import { addressColumns } from './columns.js';
import { rowOf, type Placed } from './row-order.js';

interface Renewal extends Placed {
  /** Its place among the batches of the call. */
  readonly index: number;
  readonly expected: string;
  readonly ttlMs: number;
}

/** The batch, when it is one renewal that does not wait. */
export function renewalOf({ database, checks, changes, noWait }: Batch, index: number): Renewal | undefined {
  if (noWait !== true) return undefined;
  const [change, ...more] = changes;
  const [check, ...others] = checks;
  if (change?.kind !== 'renew' || check === undefined || more.length > 0 || others.length > 0)
    return undefined;
  const { address, ttlMs } = change;
  const { expected } = check;
  if (typeof expected !== 'object' || !('version' in expected) || rowOf(check.address) !== rowOf(address))
    return undefined;
  return { index, database, address, expected: expected.version, ttlMs };
}

export const renewalParameters = (renewals: readonly Renewal[]): readonly unknown[] => [
  ...addressColumns(renewals),
  renewals.map(({ expected }) => expected),
  renewals.map(({ ttlMs }) => ttlMs),
];

/** The answers of `renewRows`; who was passed over is told so. */
export function renewalResults(
  lines: readonly Columns[],
  renewals: readonly Renewal[],
  name: string,
): ReadonlyMap<Renewal, CommitResult> {
  const done = new Map(lines.map((line) => [Number(line[0]), line]));
  return new Map(renewals.map((renewal, place) => [renewal, resultOf(done.get(place + 1), name)]));
}

function resultOf(line: Columns | undefined, name: string): CommitResult {
  if (line === undefined)
    return {
      outcome: 'failed',
      error: unavailable(`${name}: the row was not renewed, for somebody else has it, or has changed it`),
    };
  return {
    outcome: 'committed',
    time: milliseconds(line[2] as string),
    rows: [{ existed: true, expiresAt: milliseconds(line[1] as string) }],
  };
}
