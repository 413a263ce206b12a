/** Spans and metrics of the storage for OpenTelemetry, if `@opentelemetry/api` is installed. */
import type * as OpenTelemetry from '@opentelemetry/api';
import type { StorageCall, StorageObserver } from '../../core/providers/observed-provider.js';
import { optionalPackage } from '../start-up/optional-package.js';

type Api = typeof OpenTelemetry;

const scope = '@kvent/key-value-storage';

/** `undefined` without the package. `load` is how it is found. */
export async function openTelemetryObserver(
  load: () => Promise<Api> = () => import('@opentelemetry/api'),
): Promise<StorageObserver | undefined> {
  const api = await optionalPackage(load);
  return api && observerOf(api);
}

/**
 * One span `storage.commit`, `storage.read` … for each call to the engine, child of what runs at
 * the moment. Metrics: `kvent.storage.operations` and `kvent.storage.conflicts` (counters),
 * `kvent.storage.duration` (histogram, seconds). Attributes name the provider and the operation;
 * keys, tenants and values never.
 */
function observerOf({ metrics, trace, SpanKind, SpanStatusCode }: Api): StorageObserver {
  const tracer = trace.getTracer(scope);
  const meter = metrics.getMeter(scope);
  const operations = meter.createCounter('kvent.storage.operations', {
    description: 'Calls to the storage engine',
  });
  const conflicts = meter.createCounter('kvent.storage.conflicts', {
    description: 'Commits that lost against someone else',
  });
  const duration = meter.createHistogram('kvent.storage.duration', {
    description: 'Duration of calls to the storage engine',
    unit: 's',
  });
  return {
    begin(call) {
      const attributes = attributesOf(call);
      const span = tracer.startSpan(`storage.${call.operation}`, {
        kind: SpanKind.CLIENT,
        attributes: { ...attributes, 'kvent.storage.size': call.size },
      });
      return (end) => {
        const [error] = end.errors;
        const outcome = error === undefined ? attributes : { ...attributes, 'error.type': error };
        operations.add(1, outcome);
        duration.record(end.durationMs / 1_000, outcome);
        if (end.conflicts > 0) conflicts.add(end.conflicts, attributes);
        span.setAttribute('kvent.storage.conflicts', end.conflicts);
        if (error !== undefined)
          span.setAttribute('error.type', error).setStatus({ code: SpanStatusCode.ERROR, message: error });
        span.end();
      };
    },
  };
}

const attributesOf = ({ provider, operation }: StorageCall) => ({
  'kvent.storage.provider': provider,
  'kvent.storage.operation': operation,
});
