import type { FeedPosition } from '@kvent/key-value-storage/provider';
import type { AppendResult } from '../definition/event-stream.js';

/** The result of an append; without a position where it has none. */
export const appendResult = (
  version: number,
  replayed: boolean,
  position: FeedPosition | undefined,
): AppendResult => (position === undefined ? { version, replayed } : { version, replayed, position });
