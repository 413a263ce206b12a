/** A row, or the deletion of one, as text: the same in journals and snapshots. */
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import {
  addressOf,
  jsonProperty,
  quoted,
  rowOf,
  rowText,
  spaceText,
  type WrittenRow,
} from '../../../core/port/row-line.js';

const jsonAt = Buffer.from(jsonProperty);

/**
 * Makes the texts of rows. It keeps the text of the last space, which most rows of a group and of a
 * snapshot share.
 */
export class RowTexts {
  #container: string | undefined;
  #entity: string | undefined;
  #space = '';

  of({ address, row }: RowEffect): string {
    const { container, entity, key } = address;
    if (container !== this.#container || entity !== this.#entity) {
      this.#container = container;
      this.#entity = entity;
      this.#space = spaceText(address);
    }
    const text = this.#space + quoted(key);
    return row === undefined ? `{${text},"deleted":true}` : rowText(text, row, encodeBytes);
  }
}

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
