/** Gauges of projections and reactions for OpenTelemetry, if `@opentelemetry/api` is installed. */
import { optionalPackage } from '@kvent/key-value-storage/internal/nest';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { ProjectionLag } from '../core/projections/projection-health.js';
import type { ApplicationRunners } from './application-runners.js';

type Api = typeof OpenTelemetry;

/** Milliseconds for reading one lag: a collection of metrics waits for it. */
const timeoutMs = 5_000;

/**
 * Measures the lag of all runners at each collection of metrics: `kvent.lag.events`,
 * `kvent.lag.age` and `kvent.lag.held_back` (seconds). Attributes name the projection or the
 * reaction, never tenants. Returns what ends it; without the package nothing is measured.
 */
export async function lagTelemetry(
  { projections, reactions }: ApplicationRunners,
  load: () => Promise<Api> = () => import('@opentelemetry/api'),
): Promise<() => void> {
  const api = await optionalPackage(load);
  if (api === undefined) return () => undefined;
  const meter = api.metrics.getMeter('@kvent/event-store');
  const events = meter.createObservableGauge('kvent.lag.events', {
    description: 'Events that were not read yet, counted up to 10,000',
  });
  const age = meter.createObservableGauge('kvent.lag.age', {
    description: 'Time since the first event that was not read yet was committed',
    unit: 's',
  });
  const heldBack = meter.createObservableGauge('kvent.lag.held_back', {
    description: 'Time for which an open transaction has held back what stands behind it',
    unit: 's',
  });
  const gauges = [events, age, heldBack];
  const observe = async (result: OpenTelemetry.BatchObservableResult): Promise<void> => {
    const measure = async (
      runner: { lag(options: { readonly signal: AbortSignal }): Promise<ProjectionLag> },
      attributes: OpenTelemetry.Attributes,
    ): Promise<void> => {
      const lag = await runner.lag({ signal: AbortSignal.timeout(timeoutMs) });
      result.observe(events, lag.events, attributes);
      result.observe(age, lag.ms / 1_000, attributes);
      result.observe(heldBack, (lag.heldBackMs ?? 0) / 1_000, attributes);
    };
    // a lag that cannot be read is a gap in its curve
    await Promise.allSettled([
      ...Array.from(projections, async (each) => await measure(each, { 'kvent.projection': each.name })),
      ...Array.from(reactions, async (each) => await measure(each, { 'kvent.reaction': each.name })),
    ]);
  };
  meter.addBatchObservableCallback(observe, gauges);
  return () => meter.removeBatchObservableCallback(observe, gauges);
}
