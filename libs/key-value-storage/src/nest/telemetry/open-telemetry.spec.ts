import 'reflect-metadata';
import { metrics, trace, type Attributes, type Meter } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { defineState } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { openTelemetryObserver } from './open-telemetry.js';

const Notes = defineState<string>('note');
const exporter = new InMemorySpanExporter();
const measured: [string, number, Attributes | undefined][] = [];
const instrument = (name: string) => {
  const measure = (value: number, attributes?: Attributes) => void measured.push([name, value, attributes]);
  return { add: measure, record: measure };
};

beforeEach(() => {
  measured.length = 0;
  exporter.reset();
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  metrics.setGlobalMeterProvider({
    getMeter: () => ({ createCounter: instrument, createHistogram: instrument }) as unknown as Meter,
  });
});
afterEach(() => {
  trace.disable();
  metrics.disable();
});

describe('Telemetry', () => {
  it('gives a span and a measurement for each call to the engine, and counts conflicts', async () => {
    const app = await Test.createTestingModule({
      imports: [KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() })],
    }).compile();
    const notes = app.get(KeyValueStorage, { strict: false }).store(Notes);
    await notes.add('secret-key', 'a');
    const conflicted = await notes
      .set('secret-key', 'b', { ifMatch: '12345' })
      .catch((error: { code: string }) => error.code);
    expect(conflicted).toBe('STORAGE_CONFLICT');
    await notes.get('secret-key');
    await app.close();
    const attributes = { 'kvent.storage.provider': 'memory', 'kvent.storage.operation': 'commit' };
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(
      expect.arrayContaining(['storage.commit', 'storage.read']),
    );
    expect(measured).toContainEqual(['kvent.storage.operations', 1, attributes]);
    expect(measured).toContainEqual(['kvent.storage.conflicts', 1, attributes]);
    expect(measured).toContainEqual(['kvent.storage.duration', expect.any(Number), attributes]);
    const spans = exporter.getFinishedSpans().map((span) => ({ ...span.attributes, status: span.status }));
    expect(JSON.stringify([spans, measured])).not.toMatch(/secret-key/);
  });

  it('marks what failed with its code', async () => {
    const observer = await openTelemetryObserver();
    observer?.begin({ provider: 'memory', operation: 'read', size: 2 })({
      durationMs: 1_500,
      conflicts: 0,
      errors: ['STORAGE_UNAVAILABLE'],
    });
    expect(exporter.getFinishedSpans()).toMatchObject([
      {
        name: 'storage.read',
        attributes: { 'error.type': 'STORAGE_UNAVAILABLE', 'kvent.storage.size': 2 },
        status: { message: 'STORAGE_UNAVAILABLE' },
      },
    ]);
    expect(measured).toContainEqual([
      'kvent.storage.duration',
      1.5,
      expect.objectContaining({ 'error.type': 'STORAGE_UNAVAILABLE' }),
    ]);
  });

  it('is nothing where the package is absent, and says so where it is broken', async () => {
    const failing = (code: string) => () =>
      Promise.reject(Object.assign(new Error('import failed'), { code }));
    expect(await openTelemetryObserver(failing('ERR_MODULE_NOT_FOUND'))).toBeUndefined();
    await expect(openTelemetryObserver(failing('ERR_INVALID_PACKAGE_CONFIG'))).rejects.toThrow(
      'import failed',
    );
  });
});
