/**
 * The fence of a stream: the token of its last holder. A stream without events keeps it for a day
 * only, so that sessions on ids that never become streams leave nothing. Where there is none, the
 * provider's time is the token: it is beyond all tokens of a fence that has expired, unless more
 * than one session was opened per millisecond, or the time has stepped back by a day.
 */
import type { Address, Row } from '@kvent/key-value-storage/provider';
import { corrupt } from './stream-addresses.js';

export interface Fence {
  /** As it was read. */
  readonly row: Row | undefined;
  /** The token of the next holder. */
  readonly next: bigint;
}

/** Decodes the row of a fence; `STORAGE_CORRUPT` when it is not one. `time`: the provider's. */
export function fenceIn(address: Address, row: Row | undefined, time: number): Fence {
  if (row === undefined) return { row, next: BigInt(Math.trunc(time)) };
  const { value } = row;
  if (value.kind !== 'number') throw corrupt(address, 'it is not the fence of a stream');
  return { row, next: value.number + 1n };
}
