/** The loaded stream that callers get, with its representation over HTTP. */
import type { Representation } from '@kvent/key-value-storage/core';
import { etagOf, representation } from '@kvent/key-value-storage/internal';
import type { Loaded } from '../definition/event-stream.js';
import { ownerOf, type StreamRows } from '../rows/stream-rows.js';

/**
 * Freezes the loaded stream, except its state, and adds the hidden property that `EtagInterceptor`
 * sends.
 */
export function loadedOf<L extends Loaded<unknown>>(rows: StreamRows, loaded: L): L {
  const represent = (): Representation => ({
    body: loaded.state,
    etag: etagOf(`v${loaded.version}`, ownerOf(rows), rows.definition.snapshot.schemaVersion),
  });
  Object.defineProperty(loaded, representation, { get: represent });
  return Object.freeze(loaded);
}
