import 'reflect-metadata';
import {
  metrics,
  type Attributes,
  type BatchObservableCallback,
  type Meter,
  type Observable,
} from '@opentelemetry/api';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { defineState, KeyValueStorageModule, MemoryProvider } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { defineProjection, defineReaction, defineStream, event, type ProjectionRunner } from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { lagTelemetry } from './lag-telemetry.js';
import { getProjectionToken, ProjectionsModule } from './projections.module.js';
import { ReactionsModule } from './reactions.module.js';
import { streamOf } from './stream-of.js';

const Doors = defineStream('door', {
  events: { opened: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
const Openings = defineProjection('openings', {
  streams: [Doors],
  into: defineState<number>('openings'),
  key: ({ stream }) => stream,
  initial: () => 0,
  evolve: (times) => times + 1,
});
const Bell = defineReaction('bell', { streams: [Doors], on: { opened: () => handling } });
let handling: Promise<void> | undefined;

const gauges = new Map<Observable, string>();
const callbacks = new Set<BatchObservableCallback>();
const meter: Partial<Meter> = {
  createCounter: () => ({ add: () => undefined }),
  createHistogram: () => ({ record: () => undefined }),
  createObservableGauge: (name) => {
    const gauge = { addCallback: () => undefined, removeCallback: () => undefined };
    gauges.set(gauge, name);
    return gauge;
  },
  addBatchObservableCallback: (callback) => void callbacks.add(callback),
  removeBatchObservableCallback: (callback) => void callbacks.delete(callback),
};

/** What a collection of metrics gets. */
async function collect() {
  const observed: [name: string | undefined, value: number, attributes: Attributes | undefined][] = [];
  for (const callback of callbacks)
    await callback({
      observe: (gauge, value, attributes) => void observed.push([gauges.get(gauge), value, attributes]),
    });
  return observed.toSorted(([a, , b], [c, , d]) =>
    JSON.stringify([b, a]) < JSON.stringify([d, c]) ? -1 : 1,
  );
}

let app: TestingModule;
let clock: ManualClock;
beforeEach(async () => {
  metrics.setGlobalMeterProvider({ getMeter: () => meter as Meter });
  handling = undefined;
  clock = new ManualClock();
  app = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider({ clock }) }),
      EventStoreModule.forFeature([Doors]),
      ProjectionsModule.forFeature([Openings]),
      ReactionsModule.forFeature([Bell]),
    ],
  }).compile();
  await app.init();
});
afterEach(async () => {
  await app.close();
  metrics.disable();
});
const projection = { 'kvent.projection': 'openings' };
const reaction = { 'kvent.reaction': 'bell' };

it('measures the lag of each projection and reaction at a collection, until the application closes', async () => {
  let release: (() => void) | undefined;
  handling = new Promise((resolve) => (release = resolve));
  await streamOf(app, Doors).append('front', [{ type: 'opened' }], { expectedVersion: 'any' });
  await app.get<ProjectionRunner>(getProjectionToken(Openings), { strict: false }).whenCaughtUp();
  clock.setNow(clock.now() + 2_500);
  expect(await collect()).toEqual([
    ['kvent.lag.age', 0, projection],
    ['kvent.lag.events', 0, projection],
    ['kvent.lag.held_back', 0, projection],
    ['kvent.lag.age', 2.5, reaction],
    ['kvent.lag.events', 1, reaction],
    ['kvent.lag.held_back', 0, reaction],
  ]);
  release?.();
  await app.close();
  expect(callbacks.size).toBe(0);
});

it('leaves out what cannot be read, and measures the rest', async () => {
  const lag = { events: 3, ms: 500, heldBackMs: 1_500 };
  const runners = [
    { name: 'lost', lag: async () => await Promise.reject(new Error('The server is down.')) },
    { name: 'held', lag: async () => await Promise.resolve(lag) },
  ];
  await app.close();
  const end = await lagTelemetry({ projections: new Set(runners), reactions: new Set() } as never);
  expect(await collect()).toEqual([
    ['kvent.lag.age', 0.5, { 'kvent.projection': 'held' }],
    ['kvent.lag.events', 3, { 'kvent.projection': 'held' }],
    ['kvent.lag.held_back', 1.5, { 'kvent.projection': 'held' }],
  ]);
  end();
  expect(callbacks.size).toBe(0);
});

it('measures nothing without the package', async () => {
  callbacks.clear();
  const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
  const end = await lagTelemetry({ projections: new Set(), reactions: new Set() }, () =>
    Promise.reject(missing),
  );
  end();
  expect(callbacks.size).toBe(0);
});
