/**
 * Spans and metrics of streams for OpenTelemetry, where the application has `@opentelemetry/api`;
 * where it has not, nothing is loaded.
 */
import { optionalPackage } from '@kvent/key-value-storage/internal/nest';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { StreamObserver } from '../core/definition/stream-observer.js';

type Api = typeof OpenTelemetry;

const scope = '@kvent/event-store';

/** `undefined` without the package. `load` is how it is found. */
export async function streamTelemetry(
  load: () => Promise<Api> = () => import('@opentelemetry/api'),
): Promise<StreamObserver | undefined> {
  const api = await optionalPackage(load);
  return api && observerOf(api);
}

/**
 * One span `stream.append`, `stream.transact`, `stream.load` … for each verb, child of what runs at
 * the moment. Metrics: `kvent.stream.appends` (events), `kvent.stream.conflicts`,
 * `kvent.stream.retries`, `kvent.stream.snapshot_hits` (counters), `kvent.stream.duration`
 * (histogram, seconds). Attributes name the stream type and the operation; ids, tenants and data
 * never.
 */
function observerOf({ metrics, trace, SpanStatusCode }: Api): StreamObserver {
  const tracer = trace.getTracer(scope);
  const meter = metrics.getMeter(scope);
  const appends = meter.createCounter('kvent.stream.appends', { description: 'Events that were appended' });
  const conflicts = meter.createCounter('kvent.stream.conflicts', {
    description: 'Appends that lost against someone else',
  });
  const retries = meter.createCounter('kvent.stream.retries', {
    description: 'Decisions that were made anew',
  });
  const hits = meter.createCounter('kvent.stream.snapshot_hits', {
    description: 'Loads that began at a snapshot',
  });
  const duration = meter.createHistogram('kvent.stream.duration', {
    description: 'Duration of calls to streams',
    unit: 's',
  });
  return {
    observe(notice) {
      if (notice.event === 'events appended')
        appends.add(notice.to - notice.from + 1, { 'kvent.stream.type': notice.type });
    },
    begin({ type, operation }) {
      const attributes = { 'kvent.stream.type': type, 'kvent.stream.operation': operation };
      const span = tracer.startSpan(`stream.${operation}`, { attributes });
      return (end) => {
        const outcome = end.error === undefined ? attributes : { ...attributes, 'error.type': end.error };
        duration.record(end.durationMs / 1_000, outcome);
        if (end.conflicts > 0) conflicts.add(end.conflicts, attributes);
        if (end.retries > 0) retries.add(end.retries, attributes);
        if (end.snapshot === 'hit') hits.add(1, attributes);
        span.setAttributes({ 'kvent.stream.conflicts': end.conflicts, 'kvent.stream.retries': end.retries });
        if (end.events !== undefined) span.setAttribute('kvent.stream.events', end.events);
        if (end.error !== undefined)
          span
            .setAttribute('error.type', end.error)
            .setStatus({ code: SpanStatusCode.ERROR, message: end.error });
        span.end();
      };
    },
  };
}

/** Both hear everything. */
export function combineObservers(first: StreamObserver, second: StreamObserver | undefined): StreamObserver {
  if (second === undefined) return first;
  return {
    observe(notice) {
      first.observe(notice);
      second.observe(notice);
    },
    begin(call) {
      const ends = [first.begin?.(call), second.begin?.(call)];
      return (end) => {
        for (const each of ends) each?.(end);
      };
    },
  };
}
