/** The positions of the appends within a request, and the header that holds them. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { isFeedPosition, type FeedPosition } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';
import { streamError } from '../core/definition/stream-errors.js';
import type { StreamObserver } from '../core/definition/stream-observer.js';

export const positionHeader = 'Kvent-Position';

const mainProvider = '';

/** The largest position of each provider: those of different providers have no order. */
export class RequestPositions {
  readonly #positions = new Map<string, FeedPosition>();

  add(provider: string | undefined = mainProvider, position: FeedPosition): void {
    const before = this.#positions.get(provider);
    if (before === undefined || before < position) this.#positions.set(provider, position);
  }

  of(provider: string | undefined = mainProvider): FeedPosition | undefined {
    return this.#positions.get(provider);
  }

  /** A list: `position` of the main provider, `name=position` of others; empty without any. */
  toString(): string {
    return [...this.#positions]
      .map(([provider, position]) =>
        provider === mainProvider ? position : `${encodeURIComponent(provider)}=${position}`,
      )
      .join(', ');
  }

  /**
   * The inverse of `toString`; of several positions of one provider the largest.
   * `INVALID_POSITION`.
   */
  static parse(header: string): RequestPositions {
    const positions = new RequestPositions();
    for (const member of header.split(',')) {
      const [position, provider, ...more] = member.trim().split('=').toReversed();
      if (!isFeedPosition(position) || more.length > 0) throw invalidPosition(header);
      positions.add(provider === undefined ? undefined : decoded(provider, header), position);
    }
    return positions;
  }
}

const invalidPosition = (header: string): Error =>
  streamError(
    'INVALID_POSITION',
    `${positionHeader} must be the value of this header in an earlier response; got ${inspect(header)}.`,
    {},
  );

function decoded(provider: string, header: string): string {
  try {
    return decodeURIComponent(provider);
  } catch {
    throw invalidPosition(header);
  }
}

const current = new AsyncLocalStorage<RequestPositions>();

/** Runs work whose appends, and those of everything that it awaits, add their positions. */
export const collectPositions = <R>(positions: RequestPositions, work: () => R): R =>
  current.run(positions, work);

/** Adds the positions of an event store to the request that appends. */
export const requestPositionsObserver: StreamObserver = {
  observe: () => undefined,
  appended: ({ provider, position }) => current.getStore()?.add(provider, position),
};
