import 'reflect-metadata';
import { Controller, Delete, Get, HttpCode, Post, Put, UseGuards, UseInterceptors } from '@nestjs/common';
import { ApiBody, ApiProperty, ApiQuery, ApiResponse, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { Test } from '@nestjs/testing';
import { expect, it } from '@jest/globals';
import type { IdempotentCall } from '../../core/commit/idempotency-record.js';
import type { Precondition } from '../../core/store/etag.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { RetryOnConflictInterceptor } from '../retry/retry-on-conflict.interceptor.js';
import { TenantGuard } from '../tenancy/tenant.guard.js';
import { describeHttp } from './describe-http.js';
import { EtagInterceptor } from '../http/etag.interceptor.js';
import { IdempotencyInterceptor } from '../idempotency/idempotency.interceptor.js';
import { IdempotencyKey } from '../http/idempotency-key.decorator.js';
import { IfMatch } from '../http/if-match.decorator.js';
import { Paged, type PagedRequest } from '../http/paged.decorator.js';

@Controller('notes')
@UseInterceptors(EtagInterceptor)
@ApiResponse({ status: 410, description: 'gone' })
class Notes {
  @Get() list(@Paged() page: PagedRequest) {
    return page;
  }
  @Get('one') get() {
    return undefined;
  }
  @Put('one')
  @ApiResponse({ status: 412, description: 'of its own' })
  put(@IfMatch({ create: true }) ifMatch: Precondition) {
    return ifMatch;
  }
  @Put('two') putPerhaps(@IfMatch({ required: false }) ifMatch: Precondition) {
    return ifMatch;
  }
  @Delete('one') @HttpCode(204) remove(@IfMatch() ifMatch: Precondition) {
    return ifMatch;
  }
  @Post() @UseInterceptors(RetryOnConflictInterceptor.with({ attempts: 2 })) add(
    @IdempotencyKey() call: IdempotentCall,
  ) {
    return call;
  }
  @Post('kept') @UseInterceptors(IdempotencyInterceptor.with({ required: false })) keep() {
    return undefined;
  }
}

@Controller('guarded')
@UseGuards(TenantGuard)
class Guarded {
  @Get() @ApiResponse({ status: 423, description: 'locked' }) get() {
    return undefined;
  }
}

/** The interceptor of the method is the one that counts. */
@Controller('nested')
@UseInterceptors(IdempotencyInterceptor)
class NestedKeys {
  @Post() @UseInterceptors(IdempotencyInterceptor.with({ required: false })) keep() {
    return undefined;
  }
}

@Controller('middleware')
class BehindMiddleware {
  @Get() get() {
    return undefined;
  }
}

class Filter {
  @ApiProperty() word!: string;
}

/** The application describes them by itself. */
@Controller('described')
class Described {
  @Post() @ApiBody({ schema: { type: 'string' } }) upload(@IdempotencyKey() call: IdempotentCall) {
    return call;
  }
  @Get() @ApiQuery({ type: Filter }) find(@Paged() page: PagedRequest) {
    return page;
  }
}

@Controller('plain')
class Plain {
  @Get() get() {
    return undefined;
  }
}

interface Operation {
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
  }[];
  readonly responses: Readonly<Record<string, { headers?: object; content?: object; description?: string }>>;
}

async function documentOf(): Promise<(method: string, path: string) => string[]> {
  const module = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({
        provider: () => new MemoryProvider(),
        tenancy: { isKnown: () => true, mayEnter: () => true },
      }),
    ],
    controllers: [Notes, NestedKeys, Guarded, BehindMiddleware, Described, Plain],
  }).compile();
  const app = module.createNestApplication();
  await app.init();
  // twice, as for two documents: nothing is there twice
  for (let times = 0; times < 2; times += 1)
    describeHttp(app, { isOfTenant: (controller) => controller === BehindMiddleware });
  const { paths } = SwaggerModule.createDocument(app, new DocumentBuilder().build());
  await app.close();
  return (method, path) => {
    const { parameters = [], responses } = (paths as unknown as Record<string, Record<string, Operation>>)[
      path
    ]?.[method] as Operation;
    const sent = parameters.map(
      ({ name, in: where, required }) => `${where} ${name}${required === true ? '' : '?'}`,
    );
    const received = Object.entries(responses).map(([status, { headers = {}, content = {} }]) =>
      [
        status,
        ...Object.keys(headers),
        ...Object.keys(content).filter((type) => type.includes('problem')),
      ].join(' '),
    );
    return [...sent, ...received];
  };
}

it('the parts for HTTP describe their headers, parameters and problems', async () => {
  const of = await documentOf();
  const problem = 'application/problem+json';
  expect(of('get', '/notes')).toEqual([
    'query limit?',
    'query cursor?',
    'query order?',
    '200 Link',
    `400 ${problem}`,
    `410 ${problem}`,
    `413 ${problem}`,
  ]);
  expect(of('get', '/notes/one')).toEqual(['header If-None-Match?', '200 ETag', '304', `410 ${problem}`]);
  expect(of('put', '/notes/one')).toEqual([
    'header If-Match?',
    'header If-None-Match?',
    '200 ETag',
    '201 ETag',
    `400 ${problem}`,
    `410 ${problem}`,
    `412 ${problem}`,
    `428 ${problem}`,
  ]);
  expect(of('put', '/notes/two').slice(0, 3)).toEqual([
    'header If-Match?',
    'header If-None-Match?',
    '200 ETag',
  ]);
  expect(of('delete', '/notes/one')).toEqual([
    'header If-Match',
    '204 ETag',
    `400 ${problem}`,
    `410 ${problem}`,
    `412 ${problem}`,
    `428 ${problem}`,
  ]);
  expect(of('post', '/nested')[0]).toBe('header Idempotency-Key?');
  expect(of('post', '/notes')).toEqual([
    'header Idempotency-Key',
    '201 ETag',
    `400 ${problem}`,
    `409 Retry-After ${problem}`,
    `410 ${problem}`,
    `422 ${problem}`,
  ]);
  expect(of('post', '/notes/kept')).toEqual([
    'header Idempotency-Key?',
    '201 ETag',
    `409 Retry-After ${problem}`,
    `410 ${problem}`,
    `422 ${problem}`,
  ]);
  const tenant = ['header X-Tenant-Id', '200', `400 ${problem}`, `403 ${problem}`, `404 ${problem}`];
  expect(of('get', '/middleware')).toEqual(tenant);
  expect(of('get', '/guarded')).toEqual([...tenant, `423 Retry-After ${problem}`]);
  expect(of('get', '/plain')).toEqual(['200']);
  expect(of('post', '/described')[0]).toBe('header Idempotency-Key');
  expect(of('get', '/described').slice(0, 4)).toEqual([
    'query word',
    'query limit?',
    'query cursor?',
    'query order?',
  ]);
});

it('the descriptions of the application are kept, and unknown options are refused', async () => {
  const responses = Reflect.getMetadata('swagger/apiResponse', Notes.prototype.put) as Operation['responses'];
  expect(responses['412']).toMatchObject({ description: 'of its own' });
  expect(() => describeHttp({} as never, { tenant: true } as object)).toThrow(/no option 'tenant'/);
});
