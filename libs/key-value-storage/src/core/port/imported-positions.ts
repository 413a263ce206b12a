/**
 * Where the rows of one import stand in the feed. Positions of two storages that count from the
 * same start are taken by rows of each other. A row whose position is taken gets one behind all
 * rows, and then so do the rows of its space that follow: the events of a stream stay in order.
 */
import { feedKeptEnd } from './feed-position.js';
import type { FeedPosition, RawRow, Row } from './storage-provider.js';

/** A row that belongs to the feed. */
type PlacedRow = RawRow & { readonly row: { readonly position: FeedPosition } };

export const isPlaced = (raw: RawRow): raw is PlacedRow => raw.row.position !== undefined;

/**
 * Of the rows of a space so far: all have the positions that they came with, some stand elsewhere
 * since an earlier import, or some got new positions.
 */
type SpaceState = 'kept' | 'elsewhere' | 'moved';

/**
 * One for each import. It holds the state of one space, so rows must come as an export returns
 * them: those of a space behind each other, in the order of their keys.
 */
export class ImportedPositions {
  #container: string | undefined;
  #entity: string | undefined;
  #state: SpaceState = 'kept';

  /** As it is now, for work that may have to run again. */
  copy(): ImportedPositions {
    const copied = new ImportedPositions();
    copied.#container = this.#container;
    copied.#entity = this.#entity;
    copied.#state = this.#state;
    return copied;
  }

  /**
   * The position of a row that belongs to the feed, and `undefined` where it must get a new one,
   * behind all rows. `stored`: the row at its address. A row of the same version is the same row,
   * imported before: it stays where it stands. `isTaken`: whether a row at another address has a
   * position.
   */
  positionOf(
    { container, entity, row }: PlacedRow,
    stored: Pick<Row, 'version' | 'position'> | undefined,
    isTaken: (position: FeedPosition) => boolean,
  ): FeedPosition | undefined {
    if (container !== this.#container || entity !== this.#entity) {
      [this.#container, this.#entity] = [container, entity];
      this.#state = 'kept';
    }
    const { version, position } = row;
    if (this.#state !== 'moved' && stored?.position !== undefined && stored.version === version) {
      if (stored.position !== position) this.#state = 'elsewhere';
      return stored.position;
    }
    if (this.#state === 'kept' && position < feedKeptEnd && !isTaken(position)) return position;
    this.#state = 'moved';
    return undefined;
  }
}
