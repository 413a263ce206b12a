/** Node warns of a leak when a signal has more than ten listeners: concurrent calls share one. */
import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { defineState, openStorage } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { providers } from '../providers.js';

const Prices = defineState<number>('price');
const listenersMax = 10;

describe.each(providers.filter(({ name }) => /^(memory|json-file|postgres)$/.test(name)))(
  'On $name',
  ({ create, dispose }) => {
    it('concurrent calls with one signal do not add a listener each', async () => {
      const location = 'listeners';
      const storage = await openStorage(await create({ location, clock: new ManualClock() }));
      try {
        const prices = storage.store(Prices);
        const { signal } = new AbortController();
        const counts: number[] = [];
        const add = signal.addEventListener.bind(signal);
        signal.addEventListener = (...listener: Parameters<typeof add>) => {
          add(...listener);
          counts.push(getEventListeners(signal, 'abort').length);
        };
        const keys = Array.from({ length: 50 }, (_, index) => `key-${index}`);
        await Promise.all(keys.map((key) => prices.set(key, 1, { signal })));
        await Promise.all(keys.map((key) => prices.get(key, { signal })));
        await Promise.all(keys.map((key) => prices.update(key, (price) => price + 1, { signal })));
        expect(counts.filter((count) => count > listenersMax)).toEqual([]);
        expect(getEventListeners(signal, 'abort')).toEqual([]);
      } finally {
        await storage.close();
        await dispose?.(location);
      }
    });
  },
);
