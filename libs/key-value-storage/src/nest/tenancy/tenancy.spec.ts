import 'reflect-metadata';
import {
  Controller,
  Get,
  Inject,
  Injectable,
  Post,
  Sse,
  UseGuards,
  UseInterceptors,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
  type MiddlewareConsumer,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { defer, from, interval, lastValueFrom, map, of, switchMap, take } from 'rxjs';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { KeyValueStorage, KeyValueStore } from '../../core/store/key-value-store.js';
import { defineState, State, type StateOf } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { ProblemDetailsFilter } from '../http/problem-details.filter.js';
import { httpAdapters, startOn } from '../http/spec-support.js';
import { StorageExceptionFilter } from '../http/storage-exception.filter.js';
import { InjectStore } from '../inject-store.decorator.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import type { TenancyOptions } from '../options/key-value-storage-options.js';
import { TenantContext } from './tenant-context.js';
import { TenantGuard } from './tenant.guard.js';
import { TenantInterceptor } from './tenant.interceptor.js';
import { TenantMiddleware } from './tenant.middleware.js';
import { tenantOf } from './tenant-resolution.js';

@State('note')
class Note {
  text!: string;
}
const Tenant = defineState<{ plan: string }>('tenant', { scope: 'shared' });

/** A response of supertest, without its `any`. */
interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** Each place that ran, with the tenant there. */
const trace: string[] = [];

@Injectable()
class TracingGuard implements CanActivate {
  constructor(@Inject(TenantContext) private readonly tenant: TenantContext) {}
  canActivate(): boolean {
    trace.push(`guard ${this.tenant.current()}`);
    return true;
  }
}
@Injectable()
class TracingInterceptor implements NestInterceptor {
  constructor(@Inject(TenantContext) private readonly tenant: TenantContext) {}
  intercept(_: ExecutionContext, next: CallHandler) {
    trace.push(`interceptor ${this.tenant.current()}`);
    return next.handle().pipe(map((value: unknown) => (trace.push(`after ${this.tenant.current()}`), value)));
  }
}

@Controller()
class Notes {
  constructor(
    @InjectStore(Note) private readonly notes: KeyValueStore<Note>,
    @InjectStore(Tenant) private readonly tenants: KeyValueStore<StateOf<typeof Tenant>>,
    @Inject(TenantContext) private readonly tenant: TenantContext,
  ) {}
  @Get('traced') @UseGuards(TracingGuard) @UseInterceptors(TracingInterceptor) async traced() {
    await new Promise(setImmediate);
    trace.push(`handler ${this.tenant.currentOrThrow()}`);
    return { tenant: this.tenant.current() };
  }
  @Post('notes') async add() {
    await this.notes.set('note', { text: `of ${this.tenant.current()}` });
    return { notes: await this.notes.count(), tenants: await this.tenants.count() };
  }
  @Get('note') async note() {
    return (await this.notes.getOrThrow('note')).value;
  }
  @Sse('events') events() {
    return interval(1).pipe(
      take(2),
      switchMap(() => from(this.notes.getOrThrow('note'))),
      map((entry) => ({ data: `${this.tenant.current()}: ${entry.value.text}` })),
    );
  }
  @Get('guarded') @UseGuards(TenantGuard) guarded() {
    return { tenant: this.tenant.current() };
  }
  @Get('health') health() {
    return { tenant: this.tenant.current() ?? null };
  }
}

describe.each(httpAdapters)('on %s', (adapter) => {
  let app: INestApplication<App>;
  afterEach(async () => {
    trace.length = 0;
    await app.close();
  });
  async function start(
    tenancy: TenancyOptions | undefined,
    controller: Type<unknown> = Notes,
  ): Promise<void> {
    class AppModule {
      configure(consumer: MiddlewareConsumer): void {
        consumer.apply(TenantMiddleware).exclude('health').forRoutes('{*path}');
      }
    }
    const module = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), ...(tenancy && { tenancy }) }),
        {
          module: AppModule,
          imports: [KeyValueStorageModule.forFeature([Note, Tenant])],
          controllers: [controller],
        },
      ],
    }).compile();
    app = await startOn(adapter, module, (created) =>
      created.useGlobalFilters(new ProblemDetailsFilter(), new StorageExceptionFilter()),
    );
  }
  const http = () => request(app.getHttpServer());
  const as = (tenant: string, path: string) => http().get(path).set('X-Tenant-Id', tenant);

  describe('The tenant of a request', () => {
    it('is available in guards, interceptors and handlers', async () => {
      await start({ mayEnter: () => true });
      await as('acme', '/traced').expect(200, { tenant: 'acme' });
      expect(trace).toEqual(['guard acme', 'interceptor acme', 'handler acme', 'after acme']);
    });

    it('is available to server-sent events after the handler has returned', async () => {
      await start({ mayEnter: () => true });
      await http().post('/notes').set('X-Tenant-Id', 'acme').send({ body: 'read' }).expect(201);
      const { text } = await as('acme', '/events').expect(200);
      expect(text.match(/data: .*/g)).toEqual(['data: acme: of acme', 'data: acme: of acme']);
    });

    it('separates tenants, also when their requests overlap; shared states are common to all', async () => {
      await start({ mayEnter: () => true });
      await app.get(KeyValueStorage).store(Tenant).set('acme', { plan: 'free' });
      const tenants = Array.from({ length: 10 }, (_, index) => `t${index}`);
      const responses = await Promise.all(
        tenants.map((tenant) => http().post('/notes').set('X-Tenant-Id', tenant).send({})),
      );
      for (const { body } of responses as HttpResponse[]) expect(body).toEqual({ notes: 1, tenants: 1 });
      await Promise.all(tenants.map((tenant) => as(tenant, '/note').expect(200, { text: `of ${tenant}` })));
      await as('t10', '/note').expect(404);
    });

    it('is 400 TENANT_MISSING when it is missing, malformed or sent twice; excluded routes need none', async () => {
      await start({ mayEnter: () => true });
      const { body, headers } = (await http().get('/traced').expect(400)) as HttpResponse;
      expect(headers['content-type']).toMatch(/problem\+json/);
      expect(body).toMatchObject({ code: 'TENANT_MISSING', instance: '/traced' });
      expect((await as('x'.repeat(300), '/traced').expect(400)).body).toMatchObject({
        code: 'TENANT_MISSING',
      });
      const twice = http().get('/traced');
      (twice as unknown as { set(name: string, value: string[]): void }).set('X-Tenant-Id', ['acme', 'evil']);
      expect((await twice.expect(400)).body).toMatchObject({ code: 'TENANT_MISSING' });
      await http().get('/health').expect(200, { tenant: null });
      expect(trace).toEqual([]);
    });

    it.each([
      [['acme', 'globex'], /was sent 2 times/],
      [['acme', 'acme'], /was sent 2 times/],
      ['acme', /^acme$/],
    ])('must be sent once over HTTP/2 as well: %j', async (sent, expected) => {
      await start({ mayEnter: () => true });
      const storage = app.get(KeyValueStorage);
      const server = createServer((incoming, response) => {
        void tenantOf(incoming, {}, storage).then(
          (tenant) => response.end(tenant),
          (error: Error) => response.end(error.message),
        );
      });
      await once(server.listen(0, '127.0.0.1'), 'listening');
      const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      const response = session.request({ 'x-tenant-id': sent }).setEncoding('utf8');
      const body = ((await response.toArray()) as string[]).join('');
      const closed = Promise.all([once(session, 'close'), once(server, 'close')]);
      session.close();
      server.close();
      await closed;
      expect(body).toMatch(expected);
    });

    it('is 404 TENANT_UNKNOWN when isKnown returns false, which may read the storage', async () => {
      await start({ isKnown: (tenant, storage) => storage.store(Tenant).has(tenant), mayEnter: () => true });
      await app.get(KeyValueStorage).store(Tenant).set('acme', { plan: 'free' });
      await as('acme', '/traced').expect(200);
      const { body } = (await as('evil', '/traced').expect(404)) as HttpResponse;
      expect(body).toMatchObject({ code: 'TENANT_UNKNOWN', tenant: 'evil' });
    });

    it('comes from the configured header, or from resolve', async () => {
      await start({ header: 'X-Shop', mayEnter: () => true });
      await http().get('/traced').set('X-Shop', 'acme').expect(200, { tenant: 'acme' });
      await app.close();
      await start({
        resolve: async ({ hostname }: { hostname: string }) => hostname.split('.')[0],
        mayEnter: () => true,
      });
      await http().get('/traced').set('Host', 'acme.shop.test').expect(200, { tenant: 'acme' });
    });

    it('is 500 when isKnown fails, and the handler does not run', async () => {
      await start({ isKnown: () => Promise.reject(new Error('no database')), mayEnter: () => true });
      await as('acme', '/traced').expect(500);
      expect(trace).toEqual([]);
    });
  });

  describe('TenantGuard', () => {
    it('is 403 TENANT_FORBIDDEN unless mayEnter returns true', async () => {
      const mayEnter: TenancyOptions['mayEnter'] = (
        tenant,
        { headers }: { headers: Record<string, string> },
      ) => headers['x-user'] === `of ${tenant}`;
      await start({ mayEnter });
      await as('acme', '/guarded').set('X-User', 'of acme').expect(200, { tenant: 'acme' });
      const { body } = (await as('acme', '/guarded').set('X-User', 'of evil').expect(403)) as HttpResponse;
      expect(body).toMatchObject({ code: 'TENANT_FORBIDDEN', tenant: 'acme' });
    });

    it('refuses to start without mayEnter, because it would allow everything', async () => {
      await expect(start({})).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/TenantGuard needs.*mayEnter/),
      });
    });
  });

  it('TenantMiddleware refuses to start without tenancy', async () => {
    @Controller()
    class EmptyController {}
    await expect(start(undefined, EmptyController)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/TenantMiddleware needs.*tenancy/),
    });
  });

  describe('TenantContext', () => {
    it('runs jobs for a tenant, also nested, and refuses an invalid tenant', async () => {
      await start({ mayEnter: () => true });
      const context = app.get(TenantContext);
      expect(context.current()).toBeUndefined();
      expect(() => context.currentOrThrow()).toThrow(expect.objectContaining({ code: 'TENANT_MISSING' }));
      expect(() => context.run('', () => 1)).toThrow(expect.objectContaining({ code: 'TENANT_MISSING' }));
      const notes = app.get(KeyValueStorage).store(Note);
      await expect(notes.count()).rejects.toMatchObject({ code: 'TENANT_MISSING' });
      await context.run('acme', async () => {
        await notes.set('note', { text: 'job' });
        expect(await context.run('other', async () => [context.current(), await notes.count()])).toEqual([
          'other',
          0,
        ]);
        expect(context.current()).toBe('acme');
      });
      expect(await notes.forTenant('acme').count()).toBe(1);
    });
  });

  describe('TenantInterceptor', () => {
    const messageOf = (client: object): ExecutionContext =>
      ({
        getType: () => 'ws',
        switchToWs: () => ({ getClient: () => client }),
      }) as unknown as ExecutionContext;
    const message = (headers: object): ExecutionContext => messageOf({ handshake: { headers } });
    const started = async (isKnown: TenancyOptions['isKnown'] = () => true) => {
      await start({ isKnown, mayEnter: () => true });
      const context = app.get(TenantContext);
      return { context, interceptor: new TenantInterceptor({ isKnown }, context, app.get(KeyValueStorage)) };
    };

    it('calls the handler and subscribes to its result inside the context', async () => {
      const { context, interceptor } = await started();
      const tenants: unknown[] = [];
      const handle = () => {
        tenants.push(context.current());
        return defer(async () => (await Promise.resolve(), context.current()));
      };
      tenants.push(
        await lastValueFrom(interceptor.intercept(message({ 'x-tenant-id': 'acme' }), { handle })),
      );
      expect(tenants).toEqual(['acme', 'acme']);
      expect(context.current()).toBeUndefined();
    });

    it('refuses a tenant header that a socket has sent twice', async () => {
      const { interceptor } = await started();
      const handle = () => of('handled');
      // as sockets of Socket.IO have them, in which Node has joined the values
      const client = {
        handshake: { headers: { 'x-tenant-id': 'acme, globex' } },
        request: { rawHeaders: ['X-Tenant-Id', 'acme', 'x-tenant-id', 'globex'] },
      };
      await expect(lastValueFrom(interceptor.intercept(messageOf(client), { handle }))).rejects.toMatchObject(
        { code: 'TENANT_MISSING', message: expect.stringContaining('sent 2 times') },
      );
    });

    it('refuses an unknown or missing tenant before the handler', async () => {
      const { interceptor } = await started(() => false);
      const handle = () => defer(() => Promise.reject(new Error('handled')));
      await expect(
        lastValueFrom(interceptor.intercept(message({ 'x-tenant-id': 'acme' }), { handle })),
      ).rejects.toMatchObject({
        code: 'TENANT_UNKNOWN',
      });
      await expect(lastValueFrom(interceptor.intercept(message({}), { handle }))).rejects.toMatchObject({
        code: 'TENANT_MISSING',
      });
    });

    it('keeps the current tenant', async () => {
      const { context, interceptor } = await started();
      const result = context.run('first', () =>
        lastValueFrom(
          interceptor.intercept(message({}), { handle: () => defer(async () => context.current()) }),
        ),
      );
      await expect(result).resolves.toBe('first');
    });
  });

  describe('The start-up', () => {
    const warningsOf = async (tenancy: TenancyOptions | undefined): Promise<readonly string[]> => {
      const warnings: string[] = [];
      const ignore = () => undefined;
      const module = await Test.createTestingModule({
        imports: [
          KeyValueStorageModule.forRoot({
            provider: () => new MemoryProvider(),
            ...(tenancy && { tenancy }),
          }),
        ],
      })
        .setLogger({
          log: ignore,
          error: ignore,
          debug: ignore,
          verbose: ignore,
          warn: (message: string) => warnings.push(message),
        })
        .compile();
      app = module.createNestApplication<INestApplication<App>>();
      return warnings;
    };

    it('warns of tenancy without isKnown and resolve, where each new name creates a tenant', async () => {
      expect(await warningsOf({})).toEqual([
        expect.stringMatching(/tenancy has neither isKnown nor resolve.*x-tenant-id/),
      ]);
    });

    it.each([
      ['without tenancy', undefined],
      ['with isKnown', { isKnown: () => true }],
      ['with resolve', { resolve: () => 'acme' }],
    ])('does not warn %s', async (_, tenancy) => {
      expect(await warningsOf(tenancy)).toEqual([]);
    });
  });
});
