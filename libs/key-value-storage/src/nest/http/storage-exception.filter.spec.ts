import 'reflect-metadata';
import {
  Body,
  Controller,
  ForbiddenException,
  Get,
  InternalServerErrorException,
  Param,
  Post,
  StandardSchemaValidationPipe,
  type INestApplication,
  type ArgumentsHost,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { firstValueFrom, type Observable } from 'rxjs';
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
import { StorageExceptionFilter } from './storage-exception.filter.js';

const Title = z.object({ title: z.string() });

@State('product', { schema: Title })
class Product {
  title!: string;
}

/** What supertest answers, without its `any`. */
interface Answer {
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
  'given-up': () => storageError('ABORTED', 'The call was aborted', {}),
  bigint: () =>
    storageError('KEY_NOT_FOUND', 'There is none', {
      key: ['user', 9007199254740993n, new Uint8Array([1, 2])],
    }),
  issues: () =>
    invalidValue([
      { message: 'Too small', path: [{ key: 'price' }, 0], input: 7331 } as StandardSchemaV1.Issue,
    ]),
  foreign: () => copyOf(storageError('KEY_EXISTS', 'It is there', { key: 'k' })),
  stranger: () => new Error('password=hunter2'),
  forbidden: () => new ForbiddenException('Not yours.'),
  internal: () => new InternalServerErrorException(new Error('password=hunter2')),
};

/** As another copy of the package would have made it: known by its brand alone. */
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
    return await this.lose();
  }
  @RetryOnConflict({ attempts: 2, delayMs: 0 }) async lose(): Promise<void> {
    const entry = (await this.products.get('shoe')) ?? (await this.products.add('shoe', { title: 'a' }));
    await this.products.set('shoe', { title: 'b' });
    await this.products.save(entry);
  }
  @Post('failures/:name') fail(@Param('name') name: string): never {
    throw failures[name]?.();
  }
}

let app: INestApplication<App>;
beforeEach(async () => {
  const module = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
      KeyValueStorageModule.forFeature([Product]),
    ],
    controllers: [Products],
  }).compile();
  app = module.createNestApplication<INestApplication<App>>();
  app.useLogger(false);
  app.useGlobalPipes(new StandardSchemaValidationPipe({ exceptionFactory: invalidValue }));
  app.useGlobalFilters(
    new ProblemDetailsFilter(),
    new StorageExceptionFilter({
      extend: (problem, { headers }: { headers: Record<string, string> }) => ({
        ...problem,
        correlationId: headers['x-id'],
      }),
    }),
  );
  await app.init();
});
afterEach(() => app.close());
const http = () => request(app.getHttpServer());

describe('A storage error over HTTP', () => {
  it('is a problem with its status, its code, where it happened and which key, and what the app adds', async () => {
    const { status, headers, body } = (await http()
      .get('/products/boot?token=secret')
      .set('X-Id', '42')) as Answer;
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

  it('is 409 where the key is there already, 412 where the check was the caller’s', async () => {
    await http().post('/products').send({ title: 'Shoe' }).expect(201);
    await http().post('/products').send({ title: 'Shoe' }).expect(409);
    const { body } = (await http().post('/products/stale').expect(412)) as Answer;
    expect(body).toMatchObject({ code: 'STORAGE_CONFLICT', status: 412, retryable: false, key: 'shoe' });
  });

  it('is 409 with Retry-After once the retries are spent', async () => {
    const { headers, body } = (await http().post('/products/race').expect(409)) as Answer;
    expect(headers['retry-after']).toBe('1');
    expect(body).toMatchObject({ code: 'STORAGE_CONFLICT', retryable: true });
  });

  it('lists the issues of a value by message and path, and sends no value', async () => {
    const { body } = (await http().post('/products').send({ title: 7331 }).expect(422)) as Answer;
    expect(body).toMatchObject({
      code: 'INVALID_VALUE',
      issues: [{ message: expect.any(String), path: ['title'] }],
    });
    expect(JSON.stringify(body)).not.toMatch(/7331/);
    const own = (await http().post('/products/failures/issues').expect(422)) as Answer;
    expect(own.body).toMatchObject({ issues: [{ message: 'Too small', path: ['price', 0] }] });
    expect(JSON.stringify(own.body)).not.toMatch(/7331/);
  });

  it('grows with no name that a client has lengthened', async () => {
    const name = '[A_, '.repeat(20_000);
    failures['long'] = () =>
      invalidValue(Array.from({ length: 500 }, () => ({ message: name, path: [name] })));
    const { body } = (await http().post('/products/failures/long').expect(422)) as Answer;
    const { issues, detail } = body as { issues: unknown[]; detail: string };
    expect(issues).toHaveLength(100);
    expect(detail.length).toBeLessThan(2_000);
    expect(JSON.stringify(body).length).toBeLessThan(120_000);
  });

  it('tells nothing of the server from 500 on', async () => {
    const { body } = (await http().post('/products/failures/corrupt').expect(500)) as Answer;
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

  it('holds 64-bit numbers and bytes without breaking', async () => {
    const { body } = (await http().post('/products/failures/bigint').expect(404)) as Answer;
    expect(body).toMatchObject({ key: ['user', '9007199254740993', 'AQI='] });
  });

  it('is recognised when another copy of the package threw it', async () => {
    await http().post('/products/failures/foreign').expect(409);
  });

  it('is never ABORTED', async () => {
    const { body } = (await http().post('/products/failures/given-up').expect(503)) as Answer;
    expect(JSON.stringify(body)).not.toMatch(/ABORTED|499/);
  });

  it.each(errorTable.filter(({ code }) => code !== 'ABORTED'))(
    'has the status of the one table: $code',
    async ({ code, status }) => {
      failures[code] = () => storageError(code, 'What happened', {} as never);
      const { body } = (await http().post(`/products/failures/${code}`).expect(status)) as Answer;
      expect(body).toMatchObject({ code, status });
    },
  );
});

describe('What cannot be answered any more', () => {
  const answered = (response: object): readonly string[] => {
    const calls: string[] = [];
    const raw = { end: () => calls.push('end'), setHeader: () => calls.push('header'), ...response };
    const http = { getRequest: () => ({ url: '/' }), getResponse: () => raw };
    const host = { getType: () => 'http', switchToHttp: () => http } as unknown as ArgumentsHost;
    new StorageExceptionFilter().catch(storageError('ABORTED', 'The client went', {}), host);
    return calls;
  };

  it('is left alone where the client has gone', () => {
    expect(answered({ destroyed: true, headersSent: false })).toEqual([]);
  });

  it('is ended where the head was sent, without a second answer', () => {
    expect(answered({ destroyed: false, headersSent: true })).toEqual(['end']);
  });

  it('is answered otherwise, by Node’s own response too', () => {
    expect(answered({ destroyed: false, headersSent: false })).toEqual(['header', 'header', 'end']);
  });
});

describe('Every other error over HTTP', () => {
  it.each([
    [
      'a route that is not there',
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
      { status: 403, title: 'Forbidden', detail: 'Not yours.' },
    ],
    ['a body that is no JSON', 'POST', '/products', '{"title":', { status: 400, title: 'Bad Request' }],
    [
      'a body that is too large',
      'POST',
      '/products',
      { title: 'x'.repeat(200_000) },
      { status: 413, title: 'Payload Too Large' },
    ],
    [
      'what nobody foresaw',
      'POST',
      '/products/failures/stranger',
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
    const { status, headers, body } = (await call) as Answer;
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(status).toBe(expected.status);
    expect(body).toMatchObject({ type: 'about:blank', instance: path, ...expected });
    expect(JSON.stringify(body)).not.toMatch(/hunter2/);
  });
});

describe('Beyond HTTP', () => {
  const host = (type: string, client?: object) =>
    ({ getType: () => type, switchToWs: () => ({ getClient: () => client }) }) as unknown as ArgumentsHost;
  const error = storageError('KEY_NOT_FOUND', 'There is no boot', { key: 'boot' });

  it('a microservice hears code and message', async () => {
    const answer = new StorageExceptionFilter().catch(error, host('rpc')) as Observable<never>;
    await expect(firstValueFrom(answer)).rejects.toEqual({
      code: 'KEY_NOT_FOUND',
      message: 'There is no boot',
    });
  });

  it('GraphQL gets the error itself', () => {
    expect(() => new StorageExceptionFilter().catch(error, host('graphql'))).toThrow(error);
    expect(() => new ProblemDetailsFilter().catch(error, host('graphql'))).toThrow(error);
  });

  it('a socket hears the exception event', () => {
    const heard: unknown[] = [];
    new StorageExceptionFilter().catch(
      error,
      host('ws', { emit: (...given: unknown[]) => heard.push(given) }),
    );
    expect(heard).toEqual([
      ['exception', { status: 'error', code: 'KEY_NOT_FOUND', message: 'There is no boot' }],
    ]);
  });

  it('nobody hears what the catch-all did not foresee', async () => {
    const answer = new ProblemDetailsFilter().catch(
      new Error('password=hunter2'),
      host('rpc'),
    ) as Observable<never>;
    await expect(firstValueFrom(answer)).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });
});
