import { isBytes } from './kinds.js';
import { printable } from './printable.js';

/**
 * A key, or any other value, as messages show it: on one line, without control characters, at most
 * 120 characters.
 */
export function inspect(value: unknown): string {
  const text = printable(inspectAny(value));
  return text.length > 120 ? `${text.slice(0, 117)}…` : text;
}

function inspectAny(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value))
    return `[${value.map((part) => (Array.isArray(part) ? 'an array' : inspect(part))).join(', ')}]`;
  if (isBytes(value)) return `bytes ${toHex(value.subarray(0, 32))}`;
  if (typeof value === 'object' && value !== null) {
    // a client's JSON may have a property of this name
    const name: unknown = value.constructor?.name;
    return `an object (${typeof name === 'string' ? name : 'no class'})`;
  }
  return String(value);
}

export const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
