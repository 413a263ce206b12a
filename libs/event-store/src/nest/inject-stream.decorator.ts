import { Inject, type InjectionToken } from '@nestjs/common';
import type { InjectDecorator } from '@kvent/key-value-storage';
import { callSiteOf, located } from '@kvent/key-value-storage/internal';
import type { EventStream } from '../core/definition/event-stream.js';
import {
  streamDefinitionOf,
  type AnyStream,
  type ResolvedStream,
} from '../core/definition/stream-definition.js';

// weak, so that a token is released with its definition
const tokens = new WeakMap<ResolvedStream, symbol>();

/**
 * The injection token of a definition's streams: `{ provide: getStreamToken(Orders), useValue: stub
 * }`. `INVALID_OPTION` for anything else than a definition.
 */
export function getStreamToken(definition: AnyStream): InjectionToken {
  const resolved = streamDefinitionOf(definition);
  let token = tokens.get(resolved);
  if (token === undefined) {
    // Nest prints it where a module does not import it
    token = Symbol(`EventStream<${resolved.type}> of EventStoreModule.forFeature([…])`);
    tokens.set(resolved, token);
  }
  return token;
}

/**
 * Injects the streams of a definition: `constructor(@InjectStream(Orders) private readonly orders:
 * EventStream<typeof Orders>) {}`. The definition must be in some
 * `EventStoreModule.forFeature([…])` that the module imports.
 */
export function InjectStream<D extends AnyStream>(definition: D): InjectDecorator<EventStream<D>> {
  return Inject(located(callSiteOf(InjectStream), () => getStreamToken(definition)));
}
