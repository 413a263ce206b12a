/**
 * SHA-256 of a text, in hex. Node's own hash takes 2 µs and returns at once. Web Crypto takes a
 * promise and a hundred µs; it is for runtimes without Node's modules, which the core does not
 * import.
 */
import { toHex } from '../base/inspect.js';

type Sha256 = (text: string) => string | Promise<string>;

async function byWebCrypto(text: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return toHex(new Uint8Array(hash));
}

function byNode(): Sha256 | undefined {
  const { process } = globalThis as { readonly process?: Partial<NodeJS.Process> };
  const hash = process?.getBuiltinModule?.('node:crypto').hash;
  return hash && ((text) => hash('sha256', text, 'hex'));
}

const byNodeOnly = byNode();
export const sha256: Sha256 = byNodeOnly ?? byWebCrypto;
/** Whether `sha256` returns no promise. */
export const isSha256Synchronous = byNodeOnly !== undefined;
