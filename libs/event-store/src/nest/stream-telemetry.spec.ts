import 'reflect-metadata';
import { metrics, trace, type Attributes, type Meter } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { ModuleMetadata } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KeyValueStorageModule, MemoryProvider } from '@kvent/key-value-storage';
import { defineStream, event, EventStore, type EventStream, type StreamObserver } from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { collectPositions, RequestPositions } from './request-positions.js';
import { streamTelemetry } from './stream-telemetry.js';

const Cup = defineStream('cup', {
  events: { filled: event<{ ml: number }>() },
  initial: () => 0,
  evolve: (ml, { data }) => ml + data.ml,
  snapshot: { every: 4 },
});
const filled = { type: 'filled', data: { ml: 1 } } as const;
const exporter = new InMemorySpanExporter();
const measured: [name: string, value: number, attributes: Attributes | undefined][] = [];
const instrument = (name: string) => {
  const measure = (value: number, attributes?: Attributes) => void measured.push([name, value, attributes]);
  return { add: measure, record: measure };
};

const failing = (): never => {
  throw new Error('no disk');
};
const failingObservers: readonly [string, StreamObserver][] = [
  ['throws', { observe: failing, begin: failing, appended: failing }],
  ['throws at the end of a call', { observe: failing, begin: () => failing }],
  ['returns no end', { observe: failing, begin: (() => 'no function') as never }],
];

async function startWith(...imports: Required<ModuleMetadata>['imports']): Promise<void> {
  app = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
      EventStoreModule.forFeature([Cup]),
      ...imports,
    ],
  })
    .setLogger(false as never)
    .compile();
  cups = app.get(EventStore, { strict: false }).stream(Cup);
}

let app: TestingModule;
let cups: EventStream<typeof Cup>;
beforeEach(async () => {
  measured.length = 0;
  exporter.reset();
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  metrics.setGlobalMeterProvider({
    getMeter: () => ({ createCounter: instrument, createHistogram: instrument }) as unknown as Meter,
  });
  await startWith();
});
afterEach(async () => {
  await app.close();
  trace.disable();
  metrics.disable();
});
const attributesOf = (operation: string) => ({
  'kvent.stream.type': 'cup',
  'kvent.stream.operation': operation,
});
const counted = (name: string) =>
  measured
    .filter(([counter]) => counter === `kvent.stream.${name}`)
    .map(([, value, attributes]) => [value, attributes]);
const spans = () => exporter.getFinishedSpans().filter(({ name }) => name.startsWith('stream.'));

describe('Telemetry of streams', () => {
  it.each(failingObservers)(
    'is complete, and so is Kvent-Position, beside an observer that %s',
    async (_, observer) => {
      await app.close();
      await startWith(EventStoreModule.forRoot({ observer }));
      const collected = { positions: new RequestPositions() };
      const { position } = await collectPositions(
        collected,
        async () => await cups.append('a', [filled], { expectedVersion: 'any' }),
      );
      expect(position).toBeDefined();
      expect(collected.positions.of(undefined)).toBe(position);
      expect(counted('appends')).toEqual([[1, { 'kvent.stream.type': 'cup' }]]);
      expect(spans().map(({ name }) => name)).toEqual(['stream.append']);
    },
  );

  it('records a span and a duration for each call, and counts the appended events', async () => {
    await cups.append('secret-id', [filled, filled], { expectedVersion: 'any' });
    await cups.transact('secret-id', () => [filled]);
    await cups.load('secret-id');
    await (await cups.openSession('secret-id')).close();
    expect(spans().map(({ name }) => name)).toEqual([
      'stream.append',
      'stream.transact',
      'stream.load',
      'stream.openSession',
    ]);
    expect(counted('duration')).toEqual(
      ['append', 'transact', 'load', 'openSession'].map((operation) => [
        expect.any(Number),
        attributesOf(operation),
      ]),
    );
    expect(counted('appends')).toEqual([
      [2, { 'kvent.stream.type': 'cup' }],
      [1, { 'kvent.stream.type': 'cup' }],
    ]);
    expect(spans()[2]?.attributes).toMatchObject({ ...attributesOf('load'), 'kvent.stream.events': 3 });
    const exported = spans().map((span) => ({ ...span.attributes, status: span.status }));
    expect(JSON.stringify([exported, measured])).not.toMatch(/secret-id|"ml"/);
  });

  it('counts conflicts and retries', async () => {
    let firstAttempt = true;
    await cups.transact('a', async () => {
      if (firstAttempt)
        await app
          .get(EventStore, { strict: false })
          .stream(Cup)
          .append('a', [filled], { expectedVersion: 0 });
      firstAttempt = false;
      return [filled];
    });
    expect(counted('conflicts')).toEqual([[1, attributesOf('transact')]]);
    expect(counted('retries')).toEqual([[1, attributesOf('transact')]]);
    const span = spans().find(({ name }) => name === 'stream.transact');
    expect(span?.attributes).toMatchObject({ 'kvent.stream.conflicts': 1, 'kvent.stream.retries': 1 });
  });

  it('counts loads that use a snapshot', async () => {
    await cups.load('a');
    await cups.append('a', [filled], { expectedVersion: 'absent' });
    expect(counted('snapshot_hits')).toEqual([]);
    await cups.transact('a', () => [filled, filled, filled]);
    await cups.load('a');
    expect(counted('snapshot_hits')).toEqual([[1, attributesOf('load')]]);
  });

  it('records the code of a failed call, and UNKNOWN for an error that is not of Kvent', async () => {
    await expect(cups.append('a', [filled], { expectedVersion: 3 })).rejects.toMatchObject({
      code: 'STREAM_VERSION_MISMATCH',
    });
    const decide = () => Promise.reject(new Error('of the application'));
    await expect(cups.transact('a', decide)).rejects.toThrow('of the application');
    expect(spans()).toMatchObject([
      {
        name: 'stream.append',
        attributes: { 'error.type': 'STREAM_VERSION_MISMATCH' },
        status: { message: 'STREAM_VERSION_MISMATCH' },
      },
      { name: 'stream.transact', attributes: { 'error.type': 'UNKNOWN' }, status: { message: 'UNKNOWN' } },
    ]);
    expect(counted('duration')).toContainEqual([
      expect.any(Number),
      { ...attributesOf('append'), 'error.type': 'STREAM_VERSION_MISMATCH' },
    ]);
    expect(counted('conflicts')).toEqual([[1, attributesOf('append')]]);
  });

  it('is off without the package, and rejects when the package is broken', async () => {
    const failing = (code: string) => () =>
      Promise.reject(Object.assign(new Error('import failed'), { code }));
    expect(await streamTelemetry(failing('ERR_MODULE_NOT_FOUND'))).toBeUndefined();
    await expect(streamTelemetry(failing('ERR_INVALID_PACKAGE_CONFIG'))).rejects.toThrow('import failed');
  });
});
