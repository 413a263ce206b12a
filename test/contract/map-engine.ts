/**
 * An engine for the sample provider: documents in a Map that outlives the providers on it, as a
 * server does.
 */
import type { DocumentEngine, StoredDocument } from './document-provider.js';

export class MapEngine implements DocumentEngine {
  readonly #documents = new Map<string, StoredDocument>();

  async get(names: readonly string[]): Promise<readonly (StoredDocument | undefined)[]> {
    await turn();
    return names.map((name) => this.#documents.get(name));
  }

  async compareAndSet(name: string, revision: number, text: string): Promise<boolean> {
    await turn();
    if ((this.#documents.get(name)?.revision ?? 0) !== revision) return false;
    this.#documents.set(name, { revision: revision + 1, text });
    return true;
  }

  async names(): Promise<readonly string[]> {
    await turn();
    return [...this.#documents.keys()];
  }

  /** Cuts every document off in the middle. */
  damage(): void {
    for (const [name, { revision, text }] of this.#documents)
      this.#documents.set(name, { revision, text: text.slice(0, text.length / 2) });
  }
}

/** As if it were elsewhere: no answer comes in the same turn. */
const turn = (): Promise<void> => Promise.resolve();
