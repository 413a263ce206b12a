import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Controller,
  HttpCode,
  Logger,
  Post,
  UseInterceptors,
  type INestApplication,
  type Type,
} from '@nestjs/common';
import {
  AnyFilesInterceptor,
  FileFieldsInterceptor,
  FileInterceptor,
  FilesInterceptor,
} from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import request, { type Test as Sent } from 'supertest';
import type { App } from 'supertest/types.js';
import { digestOfContent, type IdempotentCall } from '../../core/commit/idempotency-record.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { IdempotencyInterceptor } from '../idempotency/idempotency.interceptor.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { idempotentCallOf, IdempotencyKey } from './idempotency-key.decorator.js';
import { httpAdapters, startOn, type HttpAdapter } from './spec-support.js';
import { StorageExceptionFilter } from './storage-exception.filter.js';

const directory = mkdtempSync(join(tmpdir(), 'kvent-uploads-'));
const withoutContent = {
  _handleFile(
    _request: unknown,
    { stream }: { stream: { resume(): void } },
    done: (...of: unknown[]) => void,
  ) {
    stream.resume();
    done(null, {});
  },
  _removeFile(_request: unknown, _file: unknown, done: () => void) {
    done();
  },
};
const digest = (call: IdempotentCall) => digestOfContent(call.content);

@Controller('digests')
class Digests {
  @Post('plain') plain(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
  @Post('one') @UseInterceptors(FileInterceptor('file')) one(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
  @Post('list') @UseInterceptors(FilesInterceptor('file')) list(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
  @Post('any') @UseInterceptors(AnyFilesInterceptor()) any(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
  @Post('fields')
  @UseInterceptors(FileFieldsInterceptor([{ name: 'file' }, { name: 'other' }]))
  fields(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
  @Post('disk')
  @UseInterceptors(FileInterceptor('file', { dest: directory }))
  disk(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
  @Post('elsewhere')
  @UseInterceptors(FileInterceptor('file', { storage: withoutContent }))
  elsewhere(@IdempotencyKey() call: IdempotentCall) {
    return digest(call);
  }
}

/** How often a handler behind `IdempotencyInterceptor` has run. */
const runs = { count: 0 };

@Controller('runs')
class Runs {
  @Post('text') @HttpCode(200) @UseInterceptors(IdempotencyInterceptor) text() {
    return { run: (runs.count += 1) };
  }
  @Post('upload')
  @UseInterceptors(FileInterceptor('file'), IdempotencyInterceptor)
  upload() {
    return { run: (runs.count += 1) };
  }
}

/** The interceptor of the class runs before that of the method. */
@Controller('too-early')
@UseInterceptors(IdempotencyInterceptor)
class TooEarly {
  @Post() @UseInterceptors(FileInterceptor('file')) upload() {
    return { run: (runs.count += 1) };
  }
}

async function start(
  adapter: HttpAdapter,
  controllers: Type<unknown>[],
  configure: (app: INestApplication<App>) => void = () => undefined,
): Promise<INestApplication<App>> {
  const module = await Test.createTestingModule({
    imports: [KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() })],
    controllers,
  }).compile();
  return await startOn(adapter, module, (app) => {
    app.useGlobalFilters(new StorageExceptionFilter());
    configure(app);
  });
}

const post = (app: INestApplication<App>, path: string): Sent =>
  request(app.getHttpServer()).post(path).set('Idempotency-Key', 'k');
const file = (sent: Sent, content: string, filename = 'a.txt', contentType = 'text/plain') =>
  sent.attach('file', Buffer.from(content), { filename, contentType });

const logged = (): jest.SpiedFunction<Logger['error']> =>
  jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
const mistake = { status: 500, body: { code: 'INVALID_OPTION' } };

afterEach(() => {
  runs.count = 0;
  jest.restoreAllMocks();
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('The uploaded files of a request', () => {
  it.each(['one', 'list', 'any', 'fields', 'disk'])(
    'are compared by field, name, type and content (%s)',
    async (path) => {
      const app = await start('express', [Digests]);
      const digestsOf = async (...sent: ((given: Sent) => Sent)[]) =>
        await Promise.all(sent.map(async (fill) => (await fill(post(app, `/digests/${path}`))).text));
      const [first, same, ...others] = await digestsOf(
        (sent) => file(sent, 'one'),
        (sent) => file(sent, 'one'),
        (sent) => file(sent, 'two'),
        (sent) => file(sent, 'one', 'b.txt'),
        (sent) => file(sent, 'one', 'a.txt', 'text/html'),
        (sent) => file(sent.field('title', 'x'), 'one'),
        (sent) => sent.field('file', 'one'),
      );
      expect(first).toMatch(/^sha256/);
      expect(same).toBe(first);
      expect(new Set([first, ...others]).size).toBe(6);
      await app.close();
    },
  );

  it('of several fields and of one are distinguished', async () => {
    const app = await start('express', [Digests]);
    const send = async (name: string) =>
      (await post(app, '/digests/fields').attach(name, Buffer.from('one'), 'a.txt')).text;
    expect(await send('file')).not.toBe(await send('other'));
    await app.close();
  });

  it('are refused where their content is kept elsewhere', async () => {
    const error = logged();
    const app = await start('express', [Digests]);
    expect(await file(post(app, '/digests/elsewhere'), 'one')).toMatchObject(mistake);
    expect(error.mock.calls.flat().join()).toContain('got "a.txt" with neither a buffer nor a path');
    await app.close();
  });

  it('are compared behind the interceptor that parses them, and refused in front of it', async () => {
    const error = logged();
    const app = await start('express', [Runs, TooEarly]);
    expect((await file(post(app, '/runs/upload'), 'one')).body).toEqual({ run: 1 });
    expect((await file(post(app, '/runs/upload'), 'one')).headers['idempotency-replayed']).toBe('true');
    expect(await file(post(app, '/runs/upload'), 'two')).toMatchObject({
      status: 422,
      body: { code: 'IDEMPOTENCY_CONFLICT' },
    });
    expect(error).not.toHaveBeenCalled();
    for (const content of ['one', 'two'])
      expect(await file(post(app, '/too-early'), content)).toMatchObject(mistake);
    expect(error).toHaveBeenCalledTimes(2);
    expect(error.mock.calls.flat().join()).toContain('got a body of type "multipart/form-data"');
    expect(runs.count).toBe(1);
    await app.close();
  });
});

describe.each(httpAdapters)('The body of a request on %s', (adapter) => {
  /** A parser that leaves the body to the handler, as those of files do. */
  const unread = (app: INestApplication<App>): void => {
    if (adapter === 'express') return;
    parse(app, 'application/xml', () => undefined);
  };

  it('is refused where nothing has parsed it', async () => {
    const error = logged();
    const app = await start(adapter, [Runs, Digests], unread);
    for (const path of ['/runs/text', '/digests/plain'])
      for (const text of ['<one/>', '<two/>'])
        expect(await post(app, path).type('application/xml').send(text)).toMatchObject(mistake);
    expect(error).toHaveBeenCalledTimes(4);
    expect(error.mock.calls.flat().join()).toContain('got a body of type "application/xml"');
    expect(runs.count).toBe(0);
    await app.close();
  });

  it('is refused where middleware gave it an empty one, and may be missing', async () => {
    logged();
    const app = await start(adapter, [Runs], (each) => {
      unread(each);
      if (adapter === 'express')
        each.use((incoming: { body?: unknown }, _: unknown, next: () => void) => {
          incoming.body ??= {};
          next();
        });
    });
    expect(await post(app, '/runs/text').type('application/xml').send('<one/>')).toMatchObject(mistake);
    expect((await post(app, '/runs/text')).body).toEqual({ run: 1 });
    expect((await post(app, '/runs/text')).headers['idempotency-replayed']).toBe('true');
    await app.close();
  });
});

describe('Bytes in a body', () => {
  it.each<[string, (text: string) => unknown]>([
    ['as the whole body', (text) => Buffer.from(text)],
    ['as a field', (text) => ({ title: 'x', file: Buffer.from(text) })],
    ['as one of several of a field', (text) => ({ file: [Buffer.from('a'), Buffer.from(text)] })],
  ])('are compared %s', async (_, parsed) => {
    const app = await start('fastify', [Digests], (each) => parse(each, 'multipart/form-data', parsed));
    const [first, same, other] = await Promise.all(
      ['one', 'one', 'two'].map(
        async (text) => (await post(app, '/digests/plain').type('multipart/form-data').send(text)).text,
      ),
    );
    expect(first).toMatch(/^sha256/);
    expect([same === first, other === first]).toEqual([true, false]);
    await app.close();
  });

  it.each([
    ['a class that keeps them elsewhere', new FormData()],
    ['a part of @fastify/multipart', { file: { type: 'file', toBuffer: () => undefined } }],
  ])('are refused in %s', async (_, body) => {
    const request = { method: 'POST', url: '/', headers: { 'idempotency-key': 'k' }, body };
    const call = await idempotentCallOf(request);
    expect(() => digestOfContent(call?.content)).toThrow(expect.objectContaining({ code: 'INVALID_VALUE' }));
  });
});

it('A body of HTTP/2 that nothing has parsed is refused, though it may have no header', async () => {
  const of = (endAfterHeaders: boolean) =>
    idempotentCallOf({ headers: { 'idempotency-key': 'k' }, raw: { stream: { endAfterHeaders } } as never });
  await expect(of(false)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  expect(await of(true)).toMatchObject({ key: 'k' });
});

interface FastifyInstance {
  addContentTypeParser(
    type: string,
    options: { parseAs: 'string' },
    parse: (request: unknown, body: string, done: (error: null, body: unknown) => void) => void,
  ): void;
}

/** `parsed` returns the body of the request, of its text. */
function parse(app: INestApplication<App>, type: string, parsed: (text: string) => unknown): void {
  (app.getHttpAdapter().getInstance() as FastifyInstance).addContentTypeParser(
    type,
    { parseAs: 'string' },
    (_, text, done) => done(null, parsed(text)),
  );
}
