import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import { describe, expect, it } from '@jest/globals';
import {
  defineState,
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
} from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import {
  defineProjection,
  defineStream,
  event,
  EventStream,
  On,
  Projection,
  ProjectionRunner,
  type FeedEvent,
  type ProjectionContext,
} from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { InjectStream } from './inject-stream.decorator.js';
import { ProjectionsHealthIndicator } from './projections-health.indicator.js';
import { getProjectionToken, InjectProjection, ProjectionsModule } from './projections.module.js';
import { streamOf } from './stream-of.js';

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
const Counts = defineState<number>('counts');

@Injectable()
class Rounding {
  readonly step = 10;
}
@Projection('till-counts', { streams: [Till] })
class TillCounts {
  constructor(
    @InjectStore(Counts) private readonly counts: KeyValueStore<number>,
    private readonly rounding: Rounding,
  ) {}

  @On(Till, 'paid')
  paid({ stream }: FeedEvent<typeof Till, 'paid'>, { change }: ProjectionContext): void {
    change(this.counts, stream, (count) => count + this.rounding.step, { initial: 0 });
  }
}
const projections = ProjectionsModule.forFeature([TillTotals, TillCounts]);

@Injectable()
class Cashier {
  constructor(
    @InjectStream(Till) readonly tills: EventStream<typeof Till>,
    @InjectStore(Totals) readonly totals: KeyValueStore<Total>,
    @InjectProjection(TillTotals) readonly projection: ProjectionRunner,
    @InjectStore(Counts) readonly counts: KeyValueStore<number>,
    @InjectProjection(TillCounts) readonly counting: ProjectionRunner,
  ) {}
}

@Module({
  imports: [
    KeyValueStorageModule.forRoot({ provider: new MemoryProvider() }),
    KeyValueStorageModule.forFeature([Totals, Counts]),
    EventStoreModule.forFeature([Till]),
    projections,
  ],
  providers: [Cashier, Rounding],
})
class AppModule {}

/** The same projection in another module. */
@Module({ imports: [ProjectionsModule.forFeature([TillTotals])] })
class ReportsModule {}

describe('ProjectionsModule', () => {
  it('runs each projection once, from the start of the application until its shutdown', async () => {
    const module = await Test.createTestingModule({ imports: [AppModule, ReportsModule] }).compile();
    const { tills, totals, projection, counts, counting } = module.get(Cashier);
    expect(projection.health().partitions).toMatchObject([{ state: 'stopped' }]);
    await module.init();
    const paid = [{ type: 'paid', data: { cents: 5 } }] as const;
    const { position } = await tills.append('a', paid, { expectedVersion: 0 });
    await projection.whenCaughtUp({ position });
    expect((await totals.getOrThrow('a')).value).toEqual({ cents: 5 });
    await counting.whenCaughtUp({ position });
    expect((await counts.getOrThrow('a')).value).toBe(10);
    expect(projection.health().partitions).toMatchObject([{ state: 'running' }]);
    await module.close();
    expect(projection.health().partitions).toMatchObject([{ state: 'stopped' }]);
  });

  it('instantiates a class with what its module can inject, and names what is missing', async () => {
    @Module({ imports: [KeyValueStorageModule.forRoot({ provider: new MemoryProvider() }), projections] })
    class WithoutStores {}
    const module = await Test.createTestingModule({ imports: [WithoutStores] }).compile();
    await expect(module.init()).rejects.toThrow(/dependencies of the TillCounts .*KeyValueStore<counts>/s);
    await module.close();
  });

  it('refuses what is no projection', () => {
    expect(() => ProjectionsModule.forFeature(TillTotals as never)).toThrow('takes an array of projections');
    expect(() => ProjectionsModule.forFeature([Till as never])).toThrow('must come from defineProjection');
    expect(() => ProjectionsModule.forFeature([Rounding])).toThrow('The class Rounding has no @Projection');
    expect(() => InjectProjection(Till as never)).toThrow('must come from defineProjection');
  });
});

describe('The health of projections', () => {
  it('is degraded by a lag and by a stopped tenant, down after the end, and names no reason', async () => {
    const clock = new ManualClock();
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    @Projection('gated', { streams: [Till] })
    class Gated {
      @On(Till, 'paid')
      async paid({ data }: FeedEvent<typeof Till, 'paid'>): Promise<void> {
        await opened;
        if (data.cents < 0) throw new Error('secret');
      }
    }
    const module = await Test.createTestingModule({
      imports: [
        TerminusModule.forRoot({ logger: false }),
        KeyValueStorageModule.forRoot({ provider: new MemoryProvider({ clock }) }),
        EventStoreModule.forFeature([Till]),
        ProjectionsModule.forFeature([Gated], { retry: { attempts: 1 } }),
      ],
    }).compile();
    const indicator = module.get(ProjectionsHealthIndicator, { strict: false });
    const checks = module.get(HealthCheckService, { strict: false });
    const runner = module.get<ProjectionRunner>(getProjectionToken(Gated), { strict: false });
    const check = async () => await checks.check([() => indicator.isHealthy('projections')]);
    await module.init();
    const pay = async (cents: number) =>
      await streamOf(module, Till).append('a', [{ type: 'paid', data: { cents } }], {
        expectedVersion: 'any',
      });
    await pay(1);
    expect(await check()).toMatchObject({ status: 'ok', info: { projections: { status: 'up' } } });
    await clock.advance(60_001);
    expect(await check()).toMatchObject({
      status: 'degraded',
      info: {
        projections: {
          projections: [
            {
              projection: 'gated',
              version: 1,
              lag: { events: 1, ms: 60_001 },
              stoppedTenants: 0,
              parkedStreams: 0,
            },
          ],
        },
      },
    });
    open();
    await runner.whenCaughtUp();
    expect(await check()).toMatchObject({ status: 'ok' });
    await pay(-1);
    await expect(runner.whenCaughtUp()).rejects.toMatchObject({ code: 'PROJECTION_STOPPED' });
    const stopped = await indicator.isHealthy('projections');
    expect(stopped.projections).toMatchObject({ status: 'degraded', projections: [{ stoppedTenants: 1 }] });
    expect(JSON.stringify(stopped)).not.toContain('secret');
    await runner.stop();
    expect((await indicator.isHealthy('projections')).projections.status).toBe('down');
    await expect(indicator.isHealthy('projections', { maxLagMs: -1 })).rejects.toThrow(
      'maxLagMs must be a whole number of milliseconds from 0, below 2^31; got -1.',
    );
    await expect(indicator.isHealthy('projections', { timeoutMs: 1.5 })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    await module.close();
    const closed = await indicator.isHealthy('projections');
    expect(closed.projections).toMatchObject({
      status: 'down',
      projections: [{ code: 'STORAGE_NOT_OPEN' }],
    });
  });

  it('is degraded by a parked stream, and says how many there are', async () => {
    const state = { isCorrected: false };
    @Projection('parking', { streams: [Till] })
    class Parking {
      @On(Till, 'paid')
      paid({ data }: FeedEvent<typeof Till, 'paid'>): void {
        if (data.cents < 0 && !state.isCorrected) throw new Error('secret');
      }
    }
    const module = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({ provider: new MemoryProvider() }),
        EventStoreModule.forFeature([Till]),
        ProjectionsModule.forFeature([TillTotals], {}),
        ProjectionsModule.forFeature([Parking], { onError: 'park', retry: { attempts: 1 } }),
      ],
    }).compile();
    await module.init();
    const indicator = module.get(ProjectionsHealthIndicator, { strict: false });
    const runner = module.get<ProjectionRunner>(getProjectionToken(Parking), { strict: false });
    for (const id of ['a', 'b'])
      await streamOf(module, Till).append(id, [{ type: 'paid', data: { cents: -1 } }], {
        expectedVersion: 0,
      });
    await runner.whenCaughtUp();
    const { projections: check } = await indicator.isHealthy('projections');
    expect(check.status).toBe('degraded');
    expect(check.projections).toMatchObject([
      { projection: 'till-totals', status: 'up', parkedStreams: 0 },
      { projection: 'parking', status: 'degraded', parkedStreams: 2, stoppedTenants: 0 },
    ]);
    expect(JSON.stringify(check)).not.toContain('secret');
    state.isCorrected = true;
    expect(await runner.retryParked()).toEqual([]);
    expect((await indicator.isHealthy('projections')).projections.status).toBe('up');
    await module.close();
  });
});
