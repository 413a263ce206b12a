import { defineState } from '@kvent/key-value-storage';
import type { Movement } from './stock.js';

/**
 * The last movement of a product, by sku. It is written in the commit of the movement: a store can
 * be watched, and a stream cannot.
 */
export interface LastMovement {
  readonly type: Movement['type'];
}

export const LastMovements = defineState<LastMovement>('last-movement');
