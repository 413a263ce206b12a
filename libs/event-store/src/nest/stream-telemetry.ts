/** Spans and metrics of streams for OpenTelemetry, if `@opentelemetry/api` is installed. */
import { optionalPackage } from '@kvent/key-value-storage/internal/nest';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { StreamObserver } from '../core/definition/stream-observer.js';

type Api = typeof OpenTelemetry;

const scope = '@kvent/event-store';

/** `undefined` without the package. */
export async function streamTelemetry(
  load: () => Promise<Api> = () => import('@opentelemetry/api'),
): Promise<StreamObserver | undefined> {
  const api = await optionalPackage(load);
  return api && observerOf(api);
}

/**
 * One span `stream.append`, `stream.transact`, `stream.load` … for each verb, child of the
 * active span. Metrics: `kvent.stream.appends` (events), `kvent.stream.conflicts`,
 * `kvent.stream.retries`, `kvent.stream.snapshot_hits` (counters), `kvent.stream.duration`
 * (histogram, seconds). Attributes name the stream type and the operation; ids, tenants and data
 * never.
 */
function observerOf({ metrics, trace, SpanStatusCode }: Api): StreamObserver {
  const tracer = trace.getTracer(scope);
  const meter = metrics.getMeter(scope);
  const appends = meter.createCounter('kvent.stream.appends', { description: 'Appended events' });
  const conflicts = meter.createCounter('kvent.stream.conflicts', {
    description: 'Conflicts with concurrent writes',
  });
  const retries = meter.createCounter('kvent.stream.retries', {
    description: 'Attempts after a conflict',
  });
  const hits = meter.createCounter('kvent.stream.snapshot_hits', {
    description: 'Loads that used a snapshot',
  });
  const duration = meter.createHistogram('kvent.stream.duration', {
    description: 'Duration of calls to streams',
    unit: 's',
  });
  return {
    observe(entry) {
      if (entry.event === 'events appended')
        appends.add(entry.to - entry.from + 1, { 'kvent.stream.type': entry.type });
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
