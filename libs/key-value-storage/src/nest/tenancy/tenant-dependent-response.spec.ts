import 'reflect-metadata';
import {
  Controller,
  Get,
  Header,
  Res,
  Sse,
  UseGuards,
  UseInterceptors,
  type INestApplication,
  type MiddlewareConsumer,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import { of } from 'rxjs';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { KeyValueStore } from '../../core/store/key-value-store.js';
import { State } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { EtagInterceptor } from '../http/etag.interceptor.js';
import { rawOf } from '../http/http-exchange.js';
import { ProblemDetailsFilter } from '../http/problem-details.filter.js';
import { httpAdapters, startOn } from '../http/spec-support.js';
import { StorageExceptionFilter } from '../http/storage-exception.filter.js';
import { InjectStore } from '../inject-store.decorator.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import type { TenancyOptions } from '../options/key-value-storage-options.js';
import { dependOnTenant } from './tenant-dependent-response.js';
import { TenantGuard } from './tenant.guard.js';
import { TenantInterceptor } from './tenant.interceptor.js';
import { TenantMiddleware } from './tenant.middleware.js';

@State('note')
class Note {
  text!: string;
}

@Controller()
@UseInterceptors(EtagInterceptor)
class Notes {
  constructor(@InjectStore(Note) private readonly notes: KeyValueStore<Note>) {}
  @Get('note') async note() {
    return (await this.notes.get('note')) ?? (await this.notes.set('note', { text: 'one' }));
  }
  @Get('failing') failing() {
    throw new Error('failed');
  }
  @Get('absent') absent() {
    return this.notes.getOrThrow('absent');
  }
  @Get('own') @Header('Vary', 'Accept') @Header('Cache-Control', 'max-age=60') own() {
    return 'own';
  }
  @Get('any') @Header('Vary', '*') any() {
    return 'any';
  }
  @Get('appended') @Header('Vary', 'Accept, x-tenant-id') appended() {
    return 'appended';
  }
  @Get('head') head(@Res() response: ServerResponse) {
    rawOf(response).writeHead(200, 'Reason phrase', { vary: 'Accept' }).end('head');
  }
  @Sse('events') events() {
    return of({ data: 'one' });
  }
}

@Controller('without-middleware')
class WithoutMiddleware {
  @Get('guarded') @UseGuards(TenantGuard) guarded() {
    return 'guarded';
  }
  @Get('intercepted') @UseInterceptors(TenantInterceptor) intercepted() {
    return 'intercepted';
  }
  @Get('free') free() {
    return 'free';
  }
}

describe.each(httpAdapters)('on %s', (adapter) => {
  let app: INestApplication<App>;
  afterEach(() => app.close());

  async function start(tenancy: TenancyOptions): Promise<void> {
    class AppModule {
      configure(consumer: MiddlewareConsumer): void {
        // twice, as several modules of an application may do
        consumer
          .apply(TenantMiddleware, TenantMiddleware)
          .exclude('without-middleware/{*path}')
          .forRoutes('{*path}');
      }
    }
    const module = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({
          provider: () => new MemoryProvider(),
          tenancy: { mayEnter: () => true, ...tenancy },
        }),
        {
          module: AppModule,
          imports: [KeyValueStorageModule.forFeature([Note])],
          controllers: [Notes, WithoutMiddleware],
        },
      ],
    }).compile();
    app = await startOn(adapter, module, (created) =>
      created.useGlobalFilters(new ProblemDetailsFilter(), new StorageExceptionFilter()),
    );
  }

  interface CacheHeaders {
    readonly status: number;
    readonly vary: string | undefined;
    readonly cache: string | undefined;
  }
  async function cacheHeadersOf(
    path: string,
    headers: Record<string, string> = { 'X-Tenant-Id': 'acme' },
    method: 'get' | 'head' = 'get',
  ): Promise<CacheHeaders> {
    const response = (await request(app.getHttpServer())[method](path).set(headers)) as unknown as {
      status: number;
      headers: Record<string, string>;
    };
    return {
      status: response.status,
      vary: response.headers['vary'],
      cache: response.headers['cache-control'],
    };
  }
  const protectedHeaders = { vary: 'x-tenant-id', cache: 'private, no-cache' };

  describe('A response that depends on the tenant has the headers for caches', () => {
    it.each(['get', 'head'] as const)('when it is a response to %s', async (method) => {
      await start({ isKnown: () => true });
      expect(await cacheHeadersOf('/note', undefined, method)).toEqual({ status: 200, ...protectedHeaders });
    });

    it('when it is 304', async () => {
      await start({ isKnown: () => true });
      expect(await cacheHeadersOf('/note')).toMatchObject({ status: 200 });
      expect(await cacheHeadersOf('/note', { 'X-Tenant-Id': 'acme', 'If-None-Match': '*' })).toEqual({
        status: 304,
        ...protectedHeaders,
      });
    });

    it('when it is an error: of the tenant, of the storage, of the handler, or of an unknown route', async () => {
      await start({ isKnown: (tenant) => tenant === 'acme' });
      expect(await cacheHeadersOf('/note', {})).toEqual({ status: 400, ...protectedHeaders });
      expect(await cacheHeadersOf('/note', { 'X-Tenant-Id': 'globex' })).toEqual({
        status: 404,
        ...protectedHeaders,
      });
      expect(await cacheHeadersOf('/absent')).toEqual({ status: 404, ...protectedHeaders });
      expect(await cacheHeadersOf('/failing')).toEqual({ status: 500, ...protectedHeaders });
      expect(await cacheHeadersOf('/nowhere')).toEqual({ status: 404, ...protectedHeaders });
    });

    it('when the handler sets these headers: names are added to Vary, Cache-Control is kept', async () => {
      await start({ isKnown: () => true });
      expect(await cacheHeadersOf('/own')).toEqual({
        status: 200,
        vary: 'Accept, x-tenant-id',
        cache: 'max-age=60',
      });
      expect(await cacheHeadersOf('/appended')).toMatchObject({ vary: 'Accept, x-tenant-id' });
      expect(await cacheHeadersOf('/any')).toMatchObject({ vary: '*' });
      expect(await cacheHeadersOf('/head')).toEqual({
        status: 200,
        vary: 'Accept, x-tenant-id',
        cache: protectedHeaders.cache,
      });
    });

    it('when it is a stream of server-sent events', async () => {
      await start({ isKnown: () => true });
      const { vary, cache } = await cacheHeadersOf('/events');
      expect(vary).toBe('x-tenant-id');
      expect(cache).toMatch(/\bprivate\b.*\bno-cache\b|\bno-store\b/);
    });

    it('with the header that forRoot names', async () => {
      await start({ header: 'X-Shop', isKnown: () => true });
      expect(await cacheHeadersOf('/note', { 'X-Shop': 'acme' })).toEqual({
        status: 200,
        vary: 'X-Shop',
        cache: protectedHeaders.cache,
      });
    });

    it('without Vary when resolve returns the tenant', async () => {
      await start({ resolve: () => 'acme' });
      expect(await cacheHeadersOf('/note', {})).toEqual({ status: 200, vary: undefined, cache: 'private' });
      expect(await cacheHeadersOf('/own', {})).toMatchObject({ vary: 'Accept', cache: 'max-age=60' });
    });

    it('also without the middleware, after TenantGuard or TenantInterceptor; but not on a route without a tenant', async () => {
      await start({ isKnown: () => true });
      expect(await cacheHeadersOf('/without-middleware/guarded')).toEqual({
        status: 200,
        ...protectedHeaders,
      });
      expect(await cacheHeadersOf('/without-middleware/guarded', {})).toEqual({
        status: 400,
        ...protectedHeaders,
      });
      expect(await cacheHeadersOf('/without-middleware/intercepted')).toEqual({
        status: 200,
        ...protectedHeaders,
      });
      expect(await cacheHeadersOf('/without-middleware/free')).toEqual({
        status: 200,
        vary: undefined,
        cache: undefined,
      });
    });

    it.each<[string, (response: ServerResponse) => void, string]>([
      [
        'as an object, as Fastify does',
        (response) => response.writeHead(200, { Vary: 'Accept' } as OutgoingHttpHeaders).end(),
        'Accept, x-tenant-id',
      ],
      [
        'as alternating names and values',
        (response) => response.writeHead(200, ['Vary', 'Accept']).end(),
        'Accept, x-tenant-id',
      ],
      [
        'one by one',
        (response) => response.setHeader('Vary', ['Accept', 'Origin']).writeHead(200).end(),
        'Accept, Origin, x-tenant-id',
      ],
      ['not at all', (response) => response.end(), 'x-tenant-id'],
    ])('when the handler passes its headers to Node %s', async (_, respond, vary) => {
      await start({ isKnown: () => true });
      const server = createServer((_request, response) => {
        // like the reply of Fastify
        dependOnTenant({ raw: response }, {});
        response.removeHeader('Vary');
        respond(response);
      });
      await once(server.listen(0, '127.0.0.1'), 'listening');
      try {
        const { headers } = (await request(server).get('/')) as unknown as {
          headers: Record<string, string>;
        };
        expect({ vary: headers['vary'], cache: headers['cache-control'] }).toEqual({
          vary,
          cache: protectedHeaders.cache,
        });
      } finally {
        server.close();
      }
    });
  });
});
