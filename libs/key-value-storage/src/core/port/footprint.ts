import { utf8Length } from '../base/utf8-length.js';
import { lockNameOf, rowNameOf } from './row-name.js';
import type { Batch, Value } from './storage-provider.js';

/** What a batch touches, and how large it is. */
interface Footprint {
  /** The lock names of the rows that it checks or changes, each once. */
  readonly rows: readonly string[];
  /** Of its keys and values, as `limits.batchBytesMax` counts them. */
  readonly bytes: number;
}

/** What is measured of a batch: its version has no size. */
export type BatchContent = Pick<Batch, 'database' | 'checks' | 'changes'>;

const footprints = new WeakMap<BatchContent, Footprint>();

/** Measured once for each batch. */
export function footprintOf(batch: BatchContent): Footprint {
  let footprint = footprints.get(batch);
  if (footprint === undefined) footprints.set(batch, (footprint = measure(batch)));
  return footprint;
}

function measure({ database, checks, changes }: BatchContent): Footprint {
  const rows = new Set<string>();
  let bytes = 0;
  for (const { address } of [...checks, ...changes]) {
    const name = lockNameOf(database, address);
    if (rows.has(name)) continue;
    rows.add(name);
    bytes += utf8Length(rowNameOf(address));
  }
  for (const change of changes) bytes += change.kind === 'put' ? sizeOfValue(change.value) : 8;
  return { rows: [...rows], bytes };
}

/** Bytes of a value, as the limits count them. */
export function sizeOfValue(value: Value): number {
  if (value.kind === 'json') return utf8Length(value.text);
  return value.kind === 'bytes' ? value.bytes.length : value.kind === 'number' ? 8 : 0;
}
