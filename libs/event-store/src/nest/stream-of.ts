import type { INestApplicationContext } from '@nestjs/common';
import { callSiteOf, located } from '@kvent/key-value-storage/internal';
import { partOf } from '@kvent/key-value-storage/internal/nest';
import type { EventStream } from '../core/definition/event-stream.js';
import { streamDefinitionOf, type AnyStream } from '../core/definition/stream-definition.js';
import { getStreamToken } from './inject-stream.decorator.js';

/**
 * The streams of a definition in an application, whichever module has declared it: for tests, seeds
 * and scripts. `INVALID_OPTION` where no module has.
 */
export function streamOf<D extends AnyStream>(
  app: Pick<INestApplicationContext, 'get'>,
  definition: D,
): EventStream<D> {
  return located(callSiteOf(streamOf), () => {
    const what = `stream '${streamDefinitionOf(definition).type}'`;
    return partOf(app, getStreamToken(definition), what, 'EventStoreModule') as EventStream<D>;
  });
}
