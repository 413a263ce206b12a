import 'reflect-metadata';
import {
  Controller,
  Get,
  Inject,
  Injectable,
  Module,
  Param,
  Post,
  UseInterceptors,
  type INestApplication,
} from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  EtagInterceptor,
  IfMatch,
  KeyValueStorageModule,
  MemoryProvider,
  openStorage,
  Precondition,
  StorageExceptionFilter,
} from '@kvent/key-value-storage';
import type { Representation } from '@kvent/key-value-storage/core';
import { representation } from '@kvent/key-value-storage/internal';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { defineStream, event, EventStore, EventStream } from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { getStreamToken, InjectStream } from './inject-stream.decorator.js';

const Doors = defineStream('door', {
  events: { opened: event(), shut: event() },
  initial: () => ({ open: false }),
  evolve: (_, { type }) => ({ open: type === 'opened' }),
});

@Injectable()
class Porter {
  constructor(@InjectStream(Doors) readonly doors: EventStream<typeof Doors>) {}
  open(id: string) {
    return this.doors.transact(id, ({ open }) => (open ? [] : [{ type: 'opened' }]));
  }
}

@Controller('doors')
@UseInterceptors(EtagInterceptor)
class DoorController {
  @Inject(Porter) private readonly porter!: Porter;
  @Get(':id') get(@Param('id') id: string) {
    return this.porter.doors.loadOrThrow(id);
  }
  @Post(':id/shut') async shut(@Param('id') id: string, @IfMatch() ifMatch: Precondition) {
    return await this.porter.doors.append(id, [{ type: 'shut' }], { ifMatch });
  }
}

@Module({
  imports: [EventStoreModule.forFeature([Doors])],
  providers: [Porter],
  controllers: [DoorController],
  exports: [Porter],
})
class DoorModule {}

const root = KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() });
let app: INestApplication<App> | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
});
const start = async (
  ...imports: NonNullable<Parameters<typeof Test.createTestingModule>[0]['imports']>
): Promise<INestApplication<App>> => {
  const module = await Test.createTestingModule({ imports }).compile();
  // on Fastify; one-retry-loop.spec.ts is on Express
  const fastify = new FastifyAdapter();
  app = module.createNestApplication<INestApplication<App>>(fastify, { logger: false });
  app.useGlobalFilters(new StorageExceptionFilter());
  await app.init();
  await fastify.getInstance().ready();
  return app;
};

describe('EventStoreModule', () => {
  it('injects streams without a root of its own, and the event store as it is', async () => {
    const porter = (await start(root, DoorModule)).get(Porter, { strict: false });
    expect((await porter.open('front')).state).toEqual({ open: true });
    const store = app?.get(EventStore, { strict: false });
    expect(store?.stream(Doors)).toBe(porter.doors);
    expect(app?.get(getStreamToken(Doors), { strict: false })).toBe(porter.doors);
  });

  it('a precondition that the stream is absent creates it, once', async () => {
    const { doors } = (await start(root, DoorModule)).get(Porter, { strict: false });
    const create = () => doors.append('new', [{ type: 'opened' }], { ifMatch: new Precondition('absent') });
    expect(await create()).toMatchObject({ version: 1 });
    await expect(create()).rejects.toMatchObject({ code: 'STREAM_VERSION_MISMATCH', check: 'caller' });
  });

  it.each([
    ['forRoot', EventStoreModule.forRoot({ metadata: () => ({ userId: 'u' }) })],
    [
      'forRootAsync',
      EventStoreModule.forRootAsync({ useFactory: async () => ({ metadata: () => ({ userId: 'u' }) }) }),
    ],
  ])('adds what %s says to every event', async (_, streams) => {
    const porter = (await start(root, streams, DoorModule)).get(Porter, { strict: false });
    const { events } = await porter.open('front');
    expect(events[0]?.metadata.userId).toBe('u');
  });

  it('injects into properties, and lets a stub stand in for a stream', async () => {
    @Injectable()
    class Watchman {
      @InjectStream(Doors) readonly doors!: EventStream<typeof Doors>;
    }
    @Module({ imports: [EventStoreModule.forFeature([Doors])], providers: [Watchman] })
    class WatchModule {}
    const started = await start(root, DoorModule, WatchModule);
    expect(started.get(Watchman, { strict: false }).doors).toBe(started.get(Porter, { strict: false }).doors);

    const stub: Pick<EventStream<typeof Doors>, 'transact'> = {
      transact: () => Promise.reject(new Error('stub')),
    };
    const alone = await Test.createTestingModule({
      providers: [Porter, { provide: getStreamToken(Doors), useValue: stub }],
    }).compile();
    await expect(alone.get(Porter).open('front')).rejects.toThrow('stub');
  });

  it('sends a loaded stream as its state with an etag, which If-Match takes; what is stale is a 412', async () => {
    const http = request((await start(root, DoorModule)).getHttpServer());
    await http.get('/doors/front').expect(404);
    await app?.get(Porter, { strict: false }).open('front');
    const answer = await http.get('/doors/front').expect(200);
    const etag = answer.headers['etag'] as string;
    expect([etag, answer.body]).toEqual([expect.stringMatching(/^"v1-[0-9a-z]+-1"$/), { open: true }]);
    await http.get('/doors/front').set('If-None-Match', etag).expect(304);
    for (const foreign of ['"v1"', `W/${etag}`, '"v1-0-1"'])
      await http.post('/doors/front/shut').set('If-Match', foreign).expect(412);
    await http.post('/doors/front/shut').set('If-Match', `"v7", ${etag}`).expect(201);
    const stale = await http.post('/doors/front/shut').set('If-Match', etag).expect(412);
    expect(stale.body).toMatchObject({
      code: 'STREAM_VERSION_MISMATCH',
      stream: 'door/front',
      expected: 1,
      actual: 2,
    });
    const session = await app
      ?.get(EventStore, { strict: false })
      .stream(Doors)
      .openSession('front', { sessionTimeoutMs: 3_600_000 });
    const now = (await http.get('/doors/front').expect(200)).headers['etag'] as string;
    const locked = await http.post('/doors/front/shut').set('If-Match', now).expect(423);
    expect(Number(locked.headers['retry-after'])).toBeGreaterThan(3_000);
    expect(Number(locked.headers['retry-after'])).toBeLessThanOrEqual(3_600);
    await session?.close();
  });

  it('sends an etag of that stream alone: not of another one at the same version, nor of another tenant, nor of another fold', async () => {
    await using storage = await openStorage(new MemoryProvider(), { tenant: 'acme' });
    const kindOf = (schemaVersion: number) =>
      new EventStore(storage).stream(
        defineStream('door', {
          events: { opened: event() },
          initial: () => ({ open: false }),
          evolve: () => ({ open: true }),
          snapshot: { every: 100, schemaVersion },
        }),
      );
    const doors = kindOf(1);
    const etagOf = (loaded: object) =>
      (loaded as { readonly [representation]: Representation })[representation].etag;
    const opened = (stream: typeof doors, id: string) =>
      stream.append(id, [{ type: 'opened' }], { expectedVersion: 'absent' });
    for (const stream of [doors, doors.forTenant('globex')])
      for (const id of ['front', 'back']) await opened(stream, id);
    const loaded = [
      await doors.load('front'),
      await doors.load('back'),
      await doors.forTenant('globex').load('front'),
      await kindOf(2).load('front'),
    ];
    const [own = '', ...others] = loaded.map(etagOf);
    expect(new Set([own, ...others]).size).toBe(4);
    for (const ifMatch of others.slice(0, 2)) {
      await expect(doors.append('front', [{ type: 'opened' }], { ifMatch })).rejects.toMatchObject({
        code: 'STREAM_VERSION_MISMATCH',
        check: 'caller',
      });
      await expect(doors.transact('front', () => [{ type: 'opened' }], { ifMatch })).rejects.toMatchObject({
        check: 'caller',
      });
    }
    // got before the deploy: the same version of the stream
    await kindOf(2).append('front', [{ type: 'opened' }], { ifMatch: own });
    expect(await doors.version('front')).toBe(2);
  });

  it('refuses two definitions of one type, and a start without a storage', async () => {
    const twin = defineStream('door', {
      events: { opened: event() },
      initial: () => 0,
      evolve: (n) => n + 1,
    });
    await expect(start(root, DoorModule, EventStoreModule.forFeature([twin]))).rejects.toThrow(
      /stream type 'door' .* would share their rows/,
    );
    await expect(start(DoorModule)).rejects.toThrow(/no KeyValueStorageModule.forRoot/);
  });
});
