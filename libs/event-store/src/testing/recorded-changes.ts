/** The batch of a decision under test: it records what is put into it, and commits nothing. */
import { AtomicChanges, type CommitParticipant } from '@kvent/key-value-storage/core';
import { Participant } from '@kvent/key-value-storage/internal';

export class RecordedChanges extends AtomicChanges {
  readonly calls: (readonly unknown[])[] = [];

  check(...call: readonly unknown[]): this {
    return this.#record('check', call);
  }

  checkAbsent(...call: readonly unknown[]): this {
    return this.#record('checkAbsent', call);
  }

  add(...call: readonly unknown[]): this {
    return this.#record('add', call);
  }

  set(...call: readonly unknown[]): this {
    return this.#record('set', call);
  }

  replace(...call: readonly unknown[]): this {
    return this.#record('replace', call);
  }

  save(...call: readonly unknown[]): this {
    return this.#record('save', call);
  }

  delete(...call: readonly unknown[]): this {
    return this.#record('delete', call);
  }

  increment(...call: readonly unknown[]): this {
    return this.#record('increment', call);
  }

  decrement(...call: readonly unknown[]): this {
    return this.#record('decrement', call);
  }

  raiseTo(...call: readonly unknown[]): this {
    return this.#record('raiseTo', call);
  }

  lowerTo(...call: readonly unknown[]): this {
    return this.#record('lowerTo', call);
  }

  include(participant: CommitParticipant): this {
    // compared by what it would append, not by its connections
    const content = participant instanceof Participant ? participant.content() : participant;
    return this.#record('include', [content]);
  }

  #record(verb: string, call: readonly unknown[]): this {
    this.calls.push([verb, ...call]);
    return this;
  }
}
