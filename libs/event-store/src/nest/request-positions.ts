/** The positions of the appends within a request, and the header that holds them. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { FeedPosition } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';
import { streamError } from '../core/definition/stream-errors.js';
import type { StreamObserver } from '../core/definition/stream-observer.js';
import type { PositionSeal } from './position-seal.js';

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

  /**
   * A list: the sealed position of the main provider, `name=` and that of others; empty without
   * any.
   */
  async sealedWith(seal: PositionSeal): Promise<string> {
    const members = [...this.#positions].map(async ([provider, position]) => {
      const sealed = await seal.seal(position);
      return provider === mainProvider ? sealed : `${encodeURIComponent(provider)}=${sealed}`;
    });
    return (await Promise.all(members)).join(', ');
  }

  /**
   * The inverse of `sealedWith`; of several positions of one provider the largest.
   * `INVALID_POSITION`.
   */
  static async openedWith(seal: PositionSeal, header: string): Promise<RequestPositions> {
    const positions = new RequestPositions();
    for (const member of header.split(',')) {
      const [sealed = '', provider, ...more] = member.trim().split('=').toReversed();
      const position = more.length > 0 ? undefined : await seal.open(sealed);
      if (position === undefined) throw invalidPosition(header);
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

/** The positions of a request, and the seal of the application whose event store has added them. */
export interface CollectedPositions {
  readonly positions: RequestPositions;
  seal?: PositionSeal;
}

const current = new AsyncLocalStorage<CollectedPositions>();

/** Runs work whose appends, and those of everything that it awaits, add their positions. */
export const collectPositions = <R>(collected: CollectedPositions, work: () => R): R =>
  current.run(collected, work);

/** Adds the positions of an event store to the request that appends. */
export const requestPositionsObserver = (seal: PositionSeal): StreamObserver => ({
  observe: () => undefined,
  appended: ({ provider, position }) => {
    const collected = current.getStore();
    if (collected === undefined) return;
    collected.positions.add(provider, position);
    collected.seal = seal;
  },
});
