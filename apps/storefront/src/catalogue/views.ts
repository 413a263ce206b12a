import { defineCounter, defineShardedCounter } from '@kvent/key-value-storage';

/** How often each product was shown. */
export const Views = defineCounter('views');

/**
 * How often all products together were shown, by day. Every request of a day changes one key, so it
 * has shards: the requests of several processes do not wait for each other.
 */
export const DayViews = defineShardedCounter('day-views');
