/**
 * Seals the positions that leave an application. A position has the number of its transaction, so
 * from two of them a client could count what others write. Sealed ones have no order and no numbers
 * that a client can read, and only the application can make them.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { defineState, type KeyValueStorage, type KeyValueStore } from '@kvent/key-value-storage';
import { outsideRequests } from '@kvent/key-value-storage/internal/nest';
import { isFeedPosition, type FeedPosition } from '@kvent/key-value-storage/provider';

/** Random, in the shared database: one for all processes, also after a restart or a move. */
const Secret = defineState<string>('secret', { container: 'kvent.positions', scope: 'shared' });
const secretKey = 'current';

const keyBytes = 32;
const tagBytes = 16;
const cipher = 'aes-256-ctr';

interface Keys {
  readonly tag: Buffer;
  readonly encrypt: Buffer;
}

export class PositionSeal {
  readonly #secrets: KeyValueStore<string>;
  #keys: Promise<Keys> | undefined;

  constructor(storage: KeyValueStorage) {
    this.#secrets = storage.store(Secret);
  }

  /** The same text for the same position. Rejects where the secret cannot be read or stored. */
  async seal(position: FeedPosition): Promise<string> {
    return sealed(await this.#loaded(), position);
  }

  /** `undefined` for what `seal` has not returned. Rejects as `seal` does. */
  async open(text: string): Promise<FeedPosition | undefined> {
    const keys = await this.#loaded();
    const bytes = Buffer.from(text, 'base64url');
    if (bytes.length !== 2 * tagBytes) return undefined;
    const tag = bytes.subarray(0, tagBytes);
    const decipher = createDecipheriv(cipher, keys.encrypt, tag);
    const position = decipher.update(bytes.subarray(tagBytes)).toString('hex');
    return isFeedPosition(position) && sealed(keys, position) === text ? position : undefined;
  }

  /** Read once, and not in a transaction of the request, which may be rolled back. */
  #loaded(): Promise<Keys> {
    if (this.#keys !== undefined) return this.#keys;
    const make = (): string => randomBytes(keyBytes).toString('base64url');
    const keys = outsideRequests(async () => await this.#secrets.getOrAdd(secretKey, make)).then(
      ({ entry }) => keysOf(Buffer.from(entry.value, 'base64url')),
    );
    this.#keys = keys;
    // the next call tries again
    keys.catch(() => (this.#keys = undefined));
    return keys;
  }
}

/**
 * Encryption whose initialisation vector is the tag of the text, as in SIV (RFC 5297): the vectors
 * of two positions differ without a counter or random values, and what was changed has another tag.
 */
function sealed(keys: Keys, position: FeedPosition): string {
  const bytes = Buffer.from(position, 'hex');
  const tag = createHmac('sha256', keys.tag).update(bytes).digest().subarray(0, tagBytes);
  const encrypted = createCipheriv(cipher, keys.encrypt, tag).update(bytes);
  return Buffer.concat([tag, encrypted]).toString('base64url');
}

function keysOf(secret: Buffer): Keys {
  const keyFor = (purpose: keyof Keys) => createHmac('sha256', secret).update(purpose).digest();
  return { tag: keyFor('tag'), encrypt: keyFor('encrypt') };
}
