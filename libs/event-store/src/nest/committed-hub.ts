/** Between the one event store of an application and those who want the events of its commits. */
import type { ModulesContainer } from '@nestjs/core';
import type { AnyStream } from '../core/definition/stream-definition.js';
import type { CommittedEvents } from '../core/definition/stream-observer.js';

/** On the module class of a feature that listens. */
export const listenerSymbol = Symbol.for('kvent.stream-listener');

export class CommittedHub {
  readonly #listeners = new Map<AnyStream, CommittedEvents[]>();
  readonly #isUsed: boolean;

  constructor(modules: ModulesContainer) {
    this.#isUsed = [...modules.values()].some(({ metatype }) => listenerSymbol in metatype);
  }

  listen(definition: AnyStream, listener: CommittedEvents): void {
    this.#listeners.set(definition, [...(this.#listeners.get(definition) ?? []), listener]);
  }

  /**
   * What the event store calls: first what its options say, then who listens; `undefined` where
   * nobody does, so that no event is made for nobody.
   */
  combineWith(own: CommittedEvents | undefined): CommittedEvents | undefined {
    if (!this.#isUsed) return own;
    return async (stream, events, definition) => {
      const listeners = [own, ...(this.#listeners.get(definition) ?? [])];
      // each of them is called at once, whatever the others throw
      const results = await Promise.allSettled(
        listeners.map(async (listener) => await listener?.(stream, events, definition)),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    };
  }
}
