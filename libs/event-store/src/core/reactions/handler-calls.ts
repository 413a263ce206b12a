/** Calls the handler of an event: for its tenant, with a signal that ends with its time. */
import { databaseOf, onAbort, sharedDatabase } from '@kvent/key-value-storage/internal';
import type { FeedEvent } from '../feed/event-feed.js';
import type { UntypedStream } from '../feed/read-feed.js';
import type { PartEffects, WriterContext } from '../projections/tenant-writer.js';
import type { ReactionHandler, ResolvedReaction } from './reaction-definition.js';

export class HandlerCalls implements PartEffects {
  readonly isFull = false;
  readonly #reaction: ResolvedReaction;
  readonly #context: Omit<WriterContext, 'effects'>;

  constructor(reaction: ResolvedReaction, context: Omit<WriterContext, 'effects'>) {
    this.#reaction = reaction;
    this.#context = context;
  }

  /** The effect is outside: what belongs into the commit is the checkpoint alone. */
  async addTo(): Promise<number> {
    return await Promise.resolve(1);
  }

  apply(event: FeedEvent<UntypedStream>): void | Promise<void> {
    const handler = this.#reaction.handlerOf(event.streamType, event.type);
    return handler === undefined ? undefined : this.#call(handler, event);
  }

  async #call(handler: ReactionHandler, event: FeedEvent<UntypedStream>): Promise<void> {
    const { source, clock, signal } = this.#context;
    const { name, timeoutMs } = this.#reaction;
    const [own, ended] = [new AbortController(), new AbortController()];
    const leave = onAbort(signal, () => own.abort(signal.reason));
    const reason = new Error(`The handler of the reaction '${name}' did not end in ${timeoutMs} ms.`);
    clock.wait(timeoutMs, ended.signal).then(
      () => own.abort(reason),
      () => undefined,
    );
    const database = event.tenant === undefined ? sharedDatabase : databaseOf(event.tenant);
    try {
      await source.access.detached(database, async () => await handler(event, { signal: own.signal }));
    } finally {
      leave();
      ended.abort();
    }
  }
}
