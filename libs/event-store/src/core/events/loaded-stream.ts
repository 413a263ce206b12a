/** A stream as it was read, and how it is shown over HTTP. */
import type { Representation } from '@kvent/key-value-storage/core';
import { etagOf, representation } from '@kvent/key-value-storage/internal';
import type { Loaded } from '../definition/event-stream.js';
import { ownerOf, type StreamRows } from '../rows/stream-rows.js';

/**
 * Freezes what was loaded (not the state: it is what `evolve` made), and hides in it what
 * `EtagInterceptor` sends.
 */
export function loadedOf<L extends Loaded<unknown>>(rows: StreamRows, loaded: L): L {
  const shown = (): Representation => ({
    body: loaded.state,
    etag: etagOf(`v${loaded.version}`, ownerOf(rows), rows.definition.snapshot.schemaVersion),
  });
  Object.defineProperty(loaded, representation, { get: shown });
  return Object.freeze(loaded);
}
