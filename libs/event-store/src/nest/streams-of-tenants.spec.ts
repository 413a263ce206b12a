import 'reflect-metadata';
import {
  Controller,
  Get,
  Module,
  Param,
  Post,
  type INestApplication,
  type MiddlewareConsumer,
  type NestModule,
} from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  KeyValueStorageModule,
  MemoryProvider,
  ProblemDetailsFilter,
  StorageExceptionFilter,
  TenantContext,
  TenantMiddleware,
} from '@kvent/key-value-storage';
import request from 'supertest';
import { defineStream, event, EventStore, EventStream, type StateOf } from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { InjectStream } from './inject-stream.decorator.js';
import { httpAdapters, listen } from './spec-support.js';

const Till = defineStream('till', {
  events: { paid: event<{ by: string }>() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
const Rate = defineStream('rate', {
  events: { set: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
  scope: 'shared',
});

@Controller()
class TillController {
  constructor(
    @InjectStream(Till) readonly tills: EventStream<typeof Till>,
    @InjectStream(Rate) readonly rates: EventStream<typeof Rate>,
    private readonly tenant: TenantContext,
  ) {}
  @Post('tills/:id') async pay(@Param('id') id: string) {
    const by = this.tenant.currentOrThrow();
    // the tenant is that of the call, also after the decision has awaited something
    return await this.tills.transact(
      id,
      async () => (await new Promise(setImmediate), [{ type: 'paid', data: { by } }]),
    );
  }
  @Get('tills') async list() {
    return { tills: (await this.tills.page()).items.map(({ id, version }) => [id, version]) };
  }
  @Post('rates') async set() {
    return await this.rates.append('euro', [{ type: 'set' }], { expectedVersion: 'any' });
  }
}
@Module({ imports: [EventStoreModule.forFeature([Till, Rate])], controllers: [TillController] })
class TillModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(TenantMiddleware).forRoutes('{*path}');
  }
}

let app: INestApplication;
let url: string;
async function start(adapter: AbstractHttpAdapter): Promise<void> {
  const imports = [
    KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), tenancy: {} }),
    TillModule,
  ];
  const module = await Test.createTestingModule({ imports }).compile();
  app = module.createNestApplication(adapter, { logger: false });
  app.useGlobalFilters(new ProblemDetailsFilter(), new StorageExceptionFilter());
  url = await listen(app);
}
afterEach(() => app.close());
const as = (tenant: string, method: 'get' | 'post', path: string) =>
  request(url)[method](path).set('X-Tenant-Id', tenant);
const tills = () => app.get(EventStore).stream(Till);

describe.each(httpAdapters)('The streams of a request on %s', (_name, adapter) => {
  beforeEach(() => start(adapter()));

  it('are those of its tenant, also when requests overlap; shared streams are common to all tenants', async () => {
    const tenants = Array.from({ length: 10 }, (_, index) => `t${index}`);
    await Promise.all([...tenants, ...tenants].map((tenant) => as(tenant, 'post', '/tills/one').expect(201)));
    for (const tenant of tenants) {
      await as(tenant, 'get', '/tills').expect(200, { tills: [['one', 2]] });
      for await (const { data, metadata } of tills().forTenant(tenant).read('one'))
        expect([data.by, metadata.tenant]).toEqual([tenant, tenant]);
    }
    await as('t10', 'get', '/tills').expect(200, { tills: [] });
    for (const [tenant, version] of [
      ['t0', 1],
      ['t1', 2],
    ] as const) {
      const response = await as(tenant, 'post', '/rates').expect(201);
      expect(response.body).toEqual({ version, replayed: false, position: expect.any(String) });
    }
  });

  it('are refused without a tenant: 400 over HTTP, TENANT_MISSING in code, except with forTenant', async () => {
    await request(url).post('/tills/one').expect(400);
    await expect(tills().version('one')).rejects.toMatchObject({ code: 'TENANT_MISSING' });
    await expect(tills().openSession('one')).rejects.toMatchObject({ code: 'TENANT_MISSING' });
    expect(() => tills().read('one')).toThrow(expect.objectContaining({ code: 'TENANT_MISSING' }));
    expect(() => tills().appending('one', [], { expectedVersion: 'any' })).toThrow(
      expect.objectContaining({ code: 'TENANT_MISSING' }),
    );
    await tills()
      .forTenant('acme')
      .append('one', [{ type: 'paid', data: { by: 'job' } }], { expectedVersion: 'any' });
    const found: StateOf<typeof Till> = (
      await app.get(TenantContext, { strict: false }).run('acme', () => tills().load('one'))
    ).state;
    expect(found).toBe(1);
    expect(await tills().forTenant('globex').version('one')).toBe(0);
  });

  it('keep their tenant in a session that another tenant uses', async () => {
    const context = app.get(TenantContext, { strict: false });
    const session = await context.run('acme', () => tills().openSession('one'));
    await context.run('globex', () => session.append([{ type: 'paid', data: { by: 'acme' } }]));
    await session.close();
    expect([
      await tills().forTenant('acme').version('one'),
      await tills().forTenant('globex').version('one'),
    ]).toEqual([1, 0]);
    expect(() => app.get(EventStore).stream(Rate).forTenant('acme')).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(/shared/) }),
    );
  });
});
