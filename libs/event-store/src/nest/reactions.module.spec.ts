import 'reflect-metadata';
import { AsyncLocalStorage } from 'node:async_hooks';
import { Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { describe, expect, it } from '@jest/globals';
import {
  defineState,
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  TenantContext,
} from '@kvent/key-value-storage';
import {
  defineReaction,
  defineStream,
  event,
  On,
  Reaction,
  reactionFrom,
  ReactionRunner,
  type FeedEvent,
  type ReactionContext,
} from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { ReactionsHealthIndicator } from './reactions-health.indicator.js';
import { getReactionToken, InjectReaction, ReactionsModule } from './reactions.module.js';
import { streamOf } from './stream-of.js';

const Till = defineStream('till', {
  events: { paid: event<{ cents: number }>(), opened: event() },
  initial: () => 0,
  evolve: (cents) => cents,
});
const News = defineStream('news', {
  events: { noted: event<{ text: string }>() },
  initial: () => 0,
  evolve: () => 0,
  scope: 'shared',
});
const Receipts = defineState<number>('receipts');
/** Of the request that appends. */
const request = new AsyncLocalStorage<string>();

@Injectable()
class Printer {
  readonly printed: unknown[] = [];
}
@Reaction('receipts', { streams: [Till] })
class ReceiptReaction {
  constructor(
    @InjectStore(Receipts) private readonly receipts: KeyValueStore<number>,
    private readonly printer: Printer,
    private readonly tenants: TenantContext,
  ) {}

  @On(Till, 'paid')
  async paid({ stream, data }: FeedEvent<typeof Till, 'paid'>, { signal }: ReactionContext): Promise<number> {
    await this.receipts.set(stream, data.cents, { signal });
    return this.printer.printed.push([this.tenants.current(), request.getStore()]);
  }
}
const shared: unknown[] = [];
const NewsReaction = defineReaction('news', {
  streams: [News],
  on: { noted: ({ tenant, data }) => shared.push([tenant, data.text]) },
});
const reactions = ReactionsModule.forFeature([ReceiptReaction, NewsReaction]);

@Injectable()
class Cashier {
  constructor(
    @InjectStore(Receipts) readonly receipts: KeyValueStore<number>,
    @InjectReaction(ReceiptReaction) readonly reaction: ReactionRunner,
    @InjectReaction(NewsReaction) readonly news: ReactionRunner,
    readonly printer: Printer,
    readonly tenants: TenantContext,
  ) {}
}
@Module({
  imports: [
    KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), tenancy: {} }),
    KeyValueStorageModule.forFeature([Receipts]),
    EventStoreModule.forFeature([Till, News]),
    reactions,
  ],
  providers: [Cashier, Printer],
})
class AppModule {}

/** The same reaction in another module. */
@Module({ imports: [ReactionsModule.forFeature([NewsReaction])] })
class OtherModule {}

describe('ReactionsModule', () => {
  it('runs handlers for the tenant of the event, outside the request, until the shutdown', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule, OtherModule] }).compile();
    const { receipts, reaction, news, printer, tenants } = module.get(Cashier);
    expect(reaction.health().partitions).toMatchObject([{ state: 'stopped' }]);
    await module.init();
    const paid = [{ type: 'opened' }, { type: 'paid', data: { cents: 5 } }] as const;
    const till = streamOf(module, Till);
    for (const tenant of ['acme', 'globex'])
      await tenants.run(tenant, async () => {
        await request.run('a request', async () => await till.append('t', paid, { expectedVersion: 0 }));
      });
    await reaction.whenCaughtUp();
    expect(printer.printed).toEqual([
      ['acme', undefined],
      ['globex', undefined],
    ]);
    for (const tenant of ['acme', 'globex'])
      expect((await receipts.forTenant(tenant).getOrThrow('t')).value).toBe(5);
    await streamOf(module, News).append('n', [{ type: 'noted', data: { text: 'one' } }], {
      expectedVersion: 0,
    });
    await news.whenCaughtUp();
    expect(shared).toEqual([[undefined, 'one']]);
    const indicator = module.get(ReactionsHealthIndicator, { strict: false });
    const up = { status: 'up', lag: { events: 0, ms: 0 }, stoppedTenants: 0, parkedStreams: 0 };
    expect(await indicator.isHealthy('reactions')).toEqual({
      reactions: {
        status: 'up',
        reactions: [
          { reaction: 'receipts', ...up },
          { reaction: 'news', ...up },
        ],
      },
    });
    await module.close();
    expect(reaction.health().partitions).toMatchObject([{ state: 'stopped' }]);
    expect((await indicator.isHealthy('reactions')).reactions.status).toBe('down');
  });

  it('refuses what is no reaction, and says what to write', async () => {
    expect(() => ReactionsModule.forFeature(NewsReaction as never)).toThrow('takes an array of reactions');
    expect(() => ReactionsModule.forFeature([Till as never])).toThrow('must come from defineReaction');
    expect(() => ReactionsModule.forFeature([Printer])).toThrow('The class Printer has no @Reaction');
    expect(() => InjectReaction(Till as never)).toThrow('must come from defineReaction');
    expect(() => reactionFrom(new Printer())).toThrow('The class Printer has no @Reaction');
    expect(() => Reaction(Printer as never, {} as never)).toThrow('@Reaction needs a name and its streams');
    const declare = (options: object) => () => {
      @Reaction('a', { streams: [Till], ...options })
      class Empty {}
      return Empty;
    };
    expect(declare({})).toThrow('@Reaction on Empty ("a") has no handler: write @On(stream');
    expect(declare({ version: 2 })).toThrow("has no option 'version'");
    expect(() => {
      @Reaction('a', { streams: [News] })
      class Foreign {
        @On(Till, 'paid')
        paid(): void {}
      }
      return Foreign;
    }).toThrow("paid has @On for the stream 'till', which is not in streams (news)");
    @Module({ imports: [KeyValueStorageModule.forRoot({ provider: new MemoryProvider() }), reactions] })
    class WithoutStores {}
    const module = await Test.createTestingModule({ imports: [WithoutStores] }).compile();
    await expect(module.init()).rejects.toThrow(/dependencies of the ReceiptReaction .*KeyValueStore<rec/s);
    await module.close();
    expect(String(getReactionToken(NewsReaction))).toContain('ReactionRunner<news> of ReactionsModule');
  });
});
