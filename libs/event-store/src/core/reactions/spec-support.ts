/** A shop with reactions to its orders. */
import type { StorageProvider } from '@kvent/key-value-storage';
import type { FeedEvent } from '../feed/event-feed.js';
import { openShop, Orders } from '../projections/spec-support.js';
import { defineReaction, type ReactionDefinition, type ReactionOptions } from './reaction-definition.js';
import { ReactionRunner, type ReactionRunnerOptions } from './reaction-runner.js';

export type Placed = FeedEvent<typeof Orders, 'placed'>;
export const nameOf = ({ tenant, stream, version }: Placed): string => `${tenant} ${stream} ${version}`;

/**
 * What handlers were called with, in the order of their beginnings; they end when the test ends
 * them.
 */
export class Handlers {
  readonly begun: string[] = [];
  readonly ids = new Map<string, string[]>();
  /** How many run now, and how many at most have run at the same time. */
  running = 0;
  most = 0;
  readonly #ends = new Map<string, (error?: Error) => void>();

  readonly placed = async (event: Placed): Promise<void> => {
    const name = nameOf(event);
    this.begun.push(name);
    this.ids.set(name, [...(this.ids.get(name) ?? []), event.id]);
    this.running += 1;
    this.most = Math.max(this.most, this.running);
    try {
      await new Promise<void>((resolve, reject) =>
        this.#ends.set(name, (error) => (error === undefined ? resolve() : reject(error))),
      );
    } finally {
      this.running -= 1;
    }
  };

  end(name: string, error?: Error): void {
    const end = this.#ends.get(name);
    if (end === undefined) throw new Error(`The handler of ${name} does not run.`);
    this.#ends.delete(name);
    end(error);
  }
}

export function reactionTo(
  placed: (event: Placed, context: { readonly signal: AbortSignal }) => unknown,
  options: Partial<ReactionOptions<typeof Orders>> = {},
): ReactionDefinition {
  return defineReaction('mails', { streams: [Orders], from: 'beginning', ...options, on: { placed } });
}

export type ReactionShop = Awaited<ReturnType<typeof openReactionShop>>;

export async function openReactionShop(wrap?: (provider: StorageProvider) => StorageProvider) {
  const shop = await openShop(wrap);
  const runners: ReactionRunner[] = [];
  return {
    ...shop,
    async react(reaction: ReactionDefinition, options: ReactionRunnerOptions = {}): Promise<ReactionRunner> {
      const runner = new ReactionRunner(shop.storage, reaction, options);
      runners.push(runner);
      await shop.until(runner.start());
      return runner;
    },
    /** Lets everything happen that needs no time. */
    async settle(): Promise<void> {
      for (let round = 0; round < 50; round += 1) await new Promise((resolve) => setImmediate(resolve));
    },
    async [Symbol.asyncDispose](): Promise<void> {
      for (const runner of runners) await shop.until(runner.stop());
      await shop[Symbol.asyncDispose]();
    },
  };
}
