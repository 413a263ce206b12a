import 'reflect-metadata';
import {
  Body,
  Controller,
  ForbiddenException,
  Get,
  InternalServerErrorException,
  Logger,
  Param,
  Post,
  StandardSchemaValidationPipe,
  type INestApplication,
  type ArgumentsHost,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { firstValueFrom, isObservable, type Observable } from 'rxjs';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { z } from 'zod';
import { errorTable, isStorageError, storageError, type StorageError } from '../../core/base/errors.js';
import { KeyValueStore } from '../../core/store/key-value-store.js';
import { State } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { InjectStore } from '../inject-store.decorator.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { RetryOnConflict } from '../retry/retry-on-conflict.decorator.js';
import { invalidValue } from './invalid-value.js';
import { ProblemDetailsFilter } from './problem-details.filter.js';
import { httpAdapters, startOn } from './spec-support.js';
import { StorageExceptionFilter } from './storage-exception.filter.js';

const Title = z.object({ title: z.string() });

@State('product', { schema: Title })
class Product {
  title!: string;
}

/** A response of supertest, without its `any`. */
interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const failures: Record<string, () => unknown> = {
  corrupt: () =>
    storageError('STORAGE_CORRUPT', 'Line 7 of /var/lib/shop/secret is damaged', {
      place: '/var/lib/shop/secret:7',
    }),
  locked: () => storageError('STORAGE_LOCKED', 'Held by pid 7', {}),
  aborted: () => storageError('ABORTED', 'The call was aborted', {}),
  bigint: () =>
    storageError('KEY_NOT_FOUND', 'No such key', {
      key: ['user', 9007199254740993n, new Uint8Array([1, 2])],
    }),
  issues: () =>
    invalidValue([
      { message: 'Too small', path: [{ key: 'price' }, 0], input: 7331 } as StandardSchemaV1.Issue,
    ]),
  'other-copy': () => copyOf(storageError('KEY_EXISTS', 'The key exists', { key: 'k' })),
  unexpected: () => new Error('password=hunter2'),
  forbidden: () => new ForbiddenException('Access denied.'),
  internal: () => new InternalServerErrorException(new Error('password=hunter2')),
};

/** An error like that of another copy of the package: it has the brand, but another class. */
function copyOf(error: StorageError): object {
  const copy = Object.defineProperties(new Error(error.message), Object.getOwnPropertyDescriptors(error));
  expect(isStorageError(copy)).toBe(true);
  return copy;
}

@Controller('products')
class Products {
  constructor(@InjectStore(Product) private readonly products: KeyValueStore<Product>) {}
  @Get(':sku') async get(@Param('sku') sku: string) {
    return (await this.products.getOrThrow(sku)).value;
  }
  @Post() async add(@Body({ schema: Title }) body: Product) {
    return (await this.products.add('shoe', body)).etag;
  }
  @Post('stale') async stale() {
    return await this.products.set('shoe', { title: 'x' }, { ifMatch: '12345' });
  }
  @Post('race') async race() {
    return await this.conflict();
  }
  @RetryOnConflict({ attempts: 2, delayMs: 0 }) async conflict(): Promise<void> {
    const entry = (await this.products.get('shoe')) ?? (await this.products.add('shoe', { title: 'a' }));
    await this.products.set('shoe', { title: 'b' });
    await this.products.save(entry);
  }
  @Post('failures/:name') fail(@Param('name') name: string): never {
    throw failures[name]?.();
  }
}

const productsModule = async () =>
  await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
      KeyValueStorageModule.forFeature([Product]),
    ],
    controllers: [Products],
  }).compile();

it.each(httpAdapters)(
  'An asynchronous extend is refused on %s: its fields would be left out',
  async (adapter) => {
    jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const module = await productsModule();
    const extend = async () => await Promise.reject(new Error('unhandled'));
    const app = await startOn(adapter, module, (created) => {
      created.useGlobalFilters(new StorageExceptionFilter({ extend }));
    });
    const { status } = await request(app.getHttpServer()).get('/products/boot');
    await app.close();
    jest.restoreAllMocks();
    expect(status).toBe(500);
  },
);

describe.each(httpAdapters)('on %s', (adapter) => {
  let app: INestApplication<App>;
  beforeEach(async () => {
    const module = await productsModule();
    app = await startOn(adapter, module, (created) => {
      created.useGlobalPipes(new StandardSchemaValidationPipe({ exceptionFactory: invalidValue }));
      created.useGlobalFilters(
        new ProblemDetailsFilter(),
        new StorageExceptionFilter({
          extend: (problem, { headers }: { headers: Record<string, string> }) => ({
            ...problem,
            correlationId: headers['x-id'],
          }),
        }),
      );
    });
  });
  afterEach(() => app.close());
  const http = () => request(app.getHttpServer());

  describe('A storage error over HTTP', () => {
    it('is a problem with status, code, path and key, and the fields that the application adds', async () => {
      const { status, headers, body } = (await http()
        .get('/products/boot?token=secret')
        .set('X-Id', '42')) as HttpResponse;
      expect(status).toBe(404);
      expect(headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(body).toEqual({
        type: 'urn:kvent:error:key_not_found',
        title: 'Key not found',
        status: 404,
        detail: expect.stringMatching(/boot/),
        code: 'KEY_NOT_FOUND',
        retryable: false,
        instance: '/products/boot',
        key: 'boot',
        correlationId: '42',
      });
      expect((body as { detail: string }).detail).not.toMatch(/\[KEY_NOT_FOUND/);
    });

    it('is 409 when the key exists, 412 when a check of the caller failed', async () => {
      await http().post('/products').send({ title: 'Shoe' }).expect(201);
      await http().post('/products').send({ title: 'Shoe' }).expect(409);
      const { body } = (await http().post('/products/stale').expect(412)) as HttpResponse;
      expect(body).toMatchObject({ code: 'STORAGE_CONFLICT', status: 412, retryable: false, key: 'shoe' });
    });

    it('is 409 with Retry-After after the last attempt', async () => {
      const { headers, body } = (await http().post('/products/race').expect(409)) as HttpResponse;
      expect(headers['retry-after']).toBe('1');
      expect(body).toMatchObject({ code: 'STORAGE_CONFLICT', retryable: true });
    });

    it('has the issues of a value with message and path, without the value', async () => {
      const { body } = (await http().post('/products').send({ title: 7331 }).expect(422)) as HttpResponse;
      expect(body).toMatchObject({
        code: 'INVALID_VALUE',
        issues: [{ message: expect.any(String), path: ['title'] }],
      });
      expect(JSON.stringify(body)).not.toMatch(/7331/);
      const thrown = (await http().post('/products/failures/issues').expect(422)) as HttpResponse;
      expect(thrown.body).toMatchObject({ issues: [{ message: 'Too small', path: ['price', 0] }] });
      expect(JSON.stringify(thrown.body)).not.toMatch(/7331/);
    });

    it('is limited in size when a client sends long names', async () => {
      const name = '[A_, '.repeat(20_000);
      failures['long'] = () =>
        invalidValue(Array.from({ length: 500 }, () => ({ message: name, path: [name] })));
      const { body } = (await http().post('/products/failures/long').expect(422)) as HttpResponse;
      const { issues, detail } = body as { issues: unknown[]; detail: string };
      expect(issues).toHaveLength(100);
      expect(detail.length).toBeLessThan(2_000);
      expect(JSON.stringify(body).length).toBeLessThan(120_000);
    });

    it('has no details of the server from 500 on', async () => {
      const { body } = (await http().post('/products/failures/corrupt').expect(500)) as HttpResponse;
      expect(body).toMatchObject({
        code: 'STORAGE_CORRUPT',
        title: 'Damaged data',
        instance: '/products/failures/corrupt',
      });
      expect(JSON.stringify(body)).not.toMatch(/secret/);
      const locked = await http().post('/products/failures/locked').expect(503);
      expect(locked.headers['retry-after']).toBe('1');
      expect(JSON.stringify(locked.body)).not.toMatch(/pid/);
    });

    it('contains 64-bit numbers and bytes as text', async () => {
      const { body } = (await http().post('/products/failures/bigint').expect(404)) as HttpResponse;
      expect(body).toMatchObject({ key: ['user', '9007199254740993', 'AQI='] });
    });

    it('is recognised when another copy of the package throws it', async () => {
      await http().post('/products/failures/other-copy').expect(409);
    });

    it('is never sent as ABORTED', async () => {
      const { body } = (await http().post('/products/failures/aborted').expect(503)) as HttpResponse;
      expect(JSON.stringify(body)).not.toMatch(/ABORTED|499/);
    });

    it.each(errorTable.filter(({ code }) => code !== 'ABORTED'))(
      'has the status of the error table: $code',
      async ({ code, status }) => {
        failures[code] = () => storageError(code, 'the message', {} as never);
        const { body } = (await http().post(`/products/failures/${code}`).expect(status)) as HttpResponse;
        expect(body).toMatchObject({ code, status });
      },
    );
  });

  describe('Any other error over HTTP', () => {
    it.each([
      [
        'an unknown route',
        'GET',
        '/nothing',
        undefined,
        { status: 404, title: 'Not Found', detail: 'Cannot GET /nothing' },
      ],
      [
        'an exception of Nest',
        'POST',
        '/products/failures/forbidden',
        {},
        { status: 403, title: 'Forbidden', detail: 'Access denied.' },
      ],
      [
        'a body that is not JSON',
        'POST',
        '/products',
        '{"title":',
        { status: 400, title: 'Bad Request', detail: 'The body or the address of the request is malformed.' },
      ],
      [
        'an address that is malformed',
        'GET',
        '/products/%FF',
        undefined,
        { status: 400, title: 'Bad Request', detail: 'The body or the address of the request is malformed.' },
      ],
      [
        'a body that is too large',
        'POST',
        '/products',
        { title: 'x'.repeat(2_000_000) },
        { status: 413, title: 'Payload Too Large', detail: 'The body of the request is too large.' },
      ],
      [
        'an unexpected error',
        'POST',
        '/products/failures/unexpected',
        {},
        { status: 500, title: 'Internal Server Error' },
      ],
      [
        'an exception around another error',
        'POST',
        '/products/failures/internal',
        {},
        { status: 500, title: 'Internal Server Error' },
      ],
    ])('is a problem too: %s', async (_, method, path, sent, expected) => {
      const call =
        method === 'GET'
          ? http().get(path)
          : http().post(path).set('Content-Type', 'application/json').send(sent);
      const { status, headers, body } = (await call) as HttpResponse;
      expect(headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(status).toBe(expected.status);
      expect(body).toMatchObject({ type: 'about:blank', instance: path, ...expected });
      expect(JSON.stringify(body)).not.toMatch(/hunter2/);
    });
  });
});

describe('The response of an aborted request', () => {
  const callsOn = (response: object): readonly string[] => {
    const calls: string[] = [];
    const raw = { end: () => calls.push('end'), setHeader: () => calls.push('header'), ...response };
    const http = { getRequest: () => ({ url: '/' }), getResponse: () => raw };
    const host = { getType: () => 'http', switchToHttp: () => http } as unknown as ArgumentsHost;
    new StorageExceptionFilter().catch(storageError('ABORTED', 'The client disconnected', {}), host);
    return calls;
  };

  it('is not touched when the client has disconnected', () => {
    expect(callsOn({ destroyed: true, headersSent: false })).toEqual([]);
    const onHttp2 = { stream: { destroyed: true }, headersSent: false };
    expect(callsOn(onHttp2)).toEqual([]);
  });

  it('is ended without a problem when its headers are sent', () => {
    expect(callsOn({ destroyed: false, headersSent: true })).toEqual(['end']);
  });

  it('is a problem otherwise, also on a response of Node', () => {
    expect(callsOn({ destroyed: false, headersSent: false })).toEqual(['header', 'header', 'end']);
  });
});

describe('Beyond HTTP', () => {
  const host = (type: string, client?: object) =>
    ({ getType: () => type, switchToWs: () => ({ getClient: () => client }) }) as unknown as ArgumentsHost;
  const error = storageError('KEY_NOT_FOUND', 'No such key', { key: 'boot' });

  it('a microservice gets code and message', async () => {
    const result = new StorageExceptionFilter().catch(error, host('rpc')) as Observable<never>;
    await expect(firstValueFrom(result)).rejects.toEqual({ code: 'KEY_NOT_FOUND', message: 'No such key' });
  });

  it('GraphQL gets an error with the code and the fields of the problem as extensions', () => {
    const expected = expect.objectContaining({
      message: 'No such key',
      extensions: { code: 'KEY_NOT_FOUND', retryable: false, key: 'boot' },
      cause: error,
    });
    expect(() => new StorageExceptionFilter().catch(error, host('graphql'))).toThrow(expected);
    expect(() => new ProblemDetailsFilter().catch(error, host('graphql'))).toThrow(expected);
  });

  it('GraphQL gets no details of the server, but errors of Nest', () => {
    Logger.overrideLogger(false);
    const corrupt = failures['corrupt']?.() as StorageError;
    expect(() => new StorageExceptionFilter().catch(corrupt, host('graphql'))).toThrow(
      expect.objectContaining({
        message: 'Damaged data',
        extensions: { code: 'STORAGE_CORRUPT', retryable: false },
        cause: undefined,
      }),
    );
    const thrown = (each: unknown) => () => new ProblemDetailsFilter().catch(each, host('graphql'));
    expect(thrown(new Error('password=hunter2'))).toThrow(/^Internal server error$/);
    const forbidden = new ForbiddenException('Access denied.');
    expect(thrown(forbidden)).toThrow(forbidden);
  });

  it('a socket gets the exception event', () => {
    const emitted: unknown[] = [];
    new StorageExceptionFilter().catch(
      error,
      host('ws', { emit: (...args: unknown[]) => emitted.push(args) }),
    );
    expect(emitted).toEqual([
      ['exception', { status: 'error', code: 'KEY_NOT_FOUND', message: 'No such key' }],
    ]);
  });

  it.each(['rpc', 'ws', 'graphql'])(
    'an error from 500 on is logged once, and no other (%s)',
    async (type) => {
      const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
      const context = host(type, { emit: () => undefined });
      const send = async (each: unknown) => {
        logged.mockClear();
        for (const filter of [new StorageExceptionFilter(), new ProblemDetailsFilter()]) {
          if (!isStorageError(each) && filter instanceof StorageExceptionFilter) continue;
          try {
            const result = filter.catch(each as StorageError, context);
            if (isObservable(result)) await firstValueFrom(result);
          } catch {
            // it is what the client gets
          }
        }
        return logged.mock.calls.map(([message]) => message as unknown);
      };
      const mistake = storageError('INVALID_OPTION', 'set has no option ttlMS', {});
      const line = expect.stringContaining('set has no option ttlMS [INVALID_OPTION');
      expect(await send(mistake)).toEqual([line, line]);
      expect(await send(error)).toEqual([]);
      expect(await send(new Error('unexpected'))).toEqual(['unexpected']);
      logged.mockRestore();
    },
  );

  it('a socket gets the content of a WsException, and no details of any other error', () => {
    Logger.overrideLogger(false);
    const emitted: unknown[] = [];
    const context = host('ws', { emit: (...args: unknown[]) => emitted.push(args) });
    const refused = Object.assign(new Error('Forbidden'), { getError: () => 'Forbidden' });
    const detailed = Object.assign(new Error('Sold out'), {
      getError: () => ({ message: 'Sold out', sku: 'mug' }),
    });
    for (const each of [refused, detailed, new Error('password=hunter2')])
      new ProblemDetailsFilter().catch(each, context);
    expect(emitted).toEqual([
      ['exception', { status: 'error', message: 'Forbidden' }],
      ['exception', { status: 'error', message: 'Sold out', sku: 'mug' }],
      ['exception', { status: 'error', message: 'Internal server error' }],
    ]);
  });

  it('a microservice gets no details of an unexpected error', async () => {
    const result = new ProblemDetailsFilter().catch(
      new Error('password=hunter2'),
      host('rpc'),
    ) as Observable<never>;
    await expect(firstValueFrom(result)).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });
});
