/** A row, or the deletion of one, as text: the same in journals and snapshots. */
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import {
  addressOf,
  addressText,
  jsonProperty,
  rowOf,
  rowText,
  type WrittenRow,
} from '../../../core/port/row-line.js';

const jsonAt = Buffer.from(jsonProperty);

export const effectText = ({ address, row }: RowEffect): string =>
  row === undefined ? `{${addressText(address)},"deleted":true}` : rowText(address, row, encodeBytes);

const encodeBytes = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
const decodeBytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'));

/**
 * Reads an effect back; throws if the bytes contain none. The value is decoded by itself, so that a
 * row in memory does not keep the whole line.
 */
export function readEffect(bytes: Buffer): RowEffect {
  const at = bytes.indexOf(jsonAt);
  const written = JSON.parse(
    at < 0 ? bytes.toString() : `${bytes.toString('utf8', 0, at)}}`,
  ) as WrittenRow & { readonly deleted?: true };
  const address = addressOf(written);
  if (written.deleted === true) return { address, row: undefined };
  const json = at < 0 ? undefined : bytes.toString('utf8', at + jsonAt.length, bytes.length - 1);
  return { address, row: rowOf(written, json, decodeBytes) };
}
