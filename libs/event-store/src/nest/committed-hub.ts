/** Passes the committed events of an application's event store to the listeners of its modules. */
import type { ModulesContainer } from '@nestjs/core';
import type { AnyStream } from '../core/definition/stream-definition.js';
import type { CommittedEvents } from '../core/definition/stream-observer.js';

/** Marks the module class of a feature that listens. */
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

  /** `own` and all listeners; `undefined` without any, so that no events are made for them. */
  combineWith(own: CommittedEvents | undefined): CommittedEvents | undefined {
    if (!this.#isUsed) return own;
    return async (stream, events, definition) => {
      const listeners = [own, ...(this.#listeners.get(definition) ?? [])];
      // all are called, whatever another throws
      const results = await Promise.allSettled(
        listeners.map(async (listener) => await listener?.(stream, events, definition)),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    };
  }
}
