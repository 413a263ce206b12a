import { createHash } from 'node:crypto';
import { defineState, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';

/**
 * The tenant of each API key, by the digest of the key: a reader of the storage learns no key. A
 * key has 256 random bits, so a fast digest is enough, and the time of a lookup reveals no key.
 */
export const ApiKeys = defineState('api-key', { schema: z.object({ tenant: z.string() }), scope: 'shared' });
export type ApiKey = StateOf<typeof ApiKeys>;

export const digestOf = (key: string): Buffer => createHash('sha256').update(key).digest();
