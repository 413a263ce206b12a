import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { describe, expect, it } from '@jest/globals';
import {
  defineState,
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
} from '@kvent/key-value-storage';
import { defineProjection, defineStream, event, EventStream, ProjectionRunner } from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { InjectStream } from './inject-stream.decorator.js';
import { InjectProjection, ProjectionsModule } from './projections.module.js';

const Till = defineStream('till', {
  events: { paid: event<{ cents: number }>() },
  initial: () => 0,
  evolve: (cents, { data }) => cents + data.cents,
});
interface Total {
  readonly cents: number;
}
const Totals = defineState<Total>('totals');
const TillTotals = defineProjection('till-totals', {
  streams: [Till],
  into: Totals,
  key: ({ stream }) => stream,
  initial: () => ({ cents: 0 }),
  evolve: ({ cents }, { data }) => ({ cents: cents + data.cents }),
});
const projections = ProjectionsModule.forFeature([TillTotals]);

@Injectable()
class Cashier {
  constructor(
    @InjectStream(Till) readonly tills: EventStream<typeof Till>,
    @InjectStore(Totals) readonly totals: KeyValueStore<Total>,
    @InjectProjection(TillTotals) readonly projection: ProjectionRunner,
  ) {}
}

@Module({
  imports: [
    KeyValueStorageModule.forRoot({ provider: new MemoryProvider() }),
    KeyValueStorageModule.forFeature([Totals]),
    EventStoreModule.forFeature([Till]),
    projections,
  ],
  providers: [Cashier],
})
class AppModule {}

/** The same projection in another module. */
@Module({ imports: [ProjectionsModule.forFeature([TillTotals])] })
class ReportsModule {}

describe('ProjectionsModule', () => {
  it('runs each projection once, from the start of the application until its shutdown', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule, ReportsModule] }).compile();
    const { tills, totals, projection } = module.get(Cashier);
    expect(projection.health().partitions).toMatchObject([{ state: 'stopped' }]);
    await module.init();
    const paid = [{ type: 'paid', data: { cents: 5 } }] as const;
    const { position } = await tills.append('a', paid, { expectedVersion: 0 });
    await projection.whenCaughtUp({ position });
    expect((await totals.getOrThrow('a')).value).toEqual({ cents: 5 });
    expect(projection.health().partitions).toMatchObject([{ state: 'running' }]);
    await module.close();
    expect(projection.health().partitions).toMatchObject([{ state: 'stopped' }]);
  });

  it('refuses what is no projection', () => {
    expect(() => ProjectionsModule.forFeature(TillTotals as never)).toThrow('takes an array of projections');
    expect(() => ProjectionsModule.forFeature([Till as never])).toThrow('must come from defineProjection');
    expect(() => InjectProjection(Till as never)).toThrow('must come from defineProjection');
  });
});
