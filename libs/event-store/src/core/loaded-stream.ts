/** A stream as it was read, and how it is shown over HTTP. */
import { representation, type Representation } from '@kvent/key-value-storage/core';
import type { Loaded } from './event-stream.js';

/** The etag of a stream at a version. Versions never restart, so it never returns. */
export const etagOf = (version: number): string => `v${version}`;

/** Freezes what was loaded (not the state: it is what `evolve` made), and hides in it what `EtagInterceptor` sends. */
export function loadedOf<L extends Loaded<unknown>>(loaded: L): L {
  const shown: Representation = { body: loaded.state, etag: etagOf(loaded.version) };
  Object.defineProperty(loaded, representation, { value: shown });
  return Object.freeze(loaded);
}
