import 'reflect-metadata';
import { once } from 'node:events';
import { request as connect, type ClientRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import {
  Body,
  ConflictException,
  Controller,
  Header,
  HttpCode,
  HttpException,
  Injectable,
  Next,
  Param,
  Post,
  Redirect,
  Req,
  Res,
  StreamableFile,
  UseGuards,
  UseInterceptors,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { storageError } from '../../core/base/errors.js';
import { defineState } from '../../core/store/state-definition.js';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { TenantInterceptor } from '../tenancy/tenant.interceptor.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';
import { rawOf, send, setHeader, setStatus, type AnyResponse } from '../http/http-exchange.js';
import { httpAdapters, startOn } from '../http/spec-support.js';
import { StorageExceptionFilter } from '../http/storage-exception.filter.js';
import { RetryOnConflictInterceptor } from '../retry/retry-on-conflict.interceptor.js';

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(setImmediate);
}

const conflictOf = (check: 'caller' | 'own') => ({ key: 'k', expected: '1', actual: '2', check });

interface Reply {
  header(name: string, value: string): unknown;
}
/** What the handlers have done, by the id of the request. */
const runs = new Map<string, number>();
const gates = new Map<string, { readonly reached: () => void; readonly open: Promise<void> }>();

function count(id: string): number {
  const run = (runs.get(id) ?? 0) + 1;
  runs.set(id, run);
  return run;
}

/** Sends its first part at once, and does not end. */
function endless(run: number): StreamableFile {
  const source = new Readable({ read: () => undefined });
  source.push(`run ${run}`);
  return new StreamableFile(source);
}

/** Refuses commits that put a response, as a storage that cannot be reached would. */
class RefusingProvider extends MemoryProvider {
  refuses = false;

  override async commit(...given: Parameters<MemoryProvider['commit']>) {
    const isResponse = given[0].some(({ changes }) =>
      changes.some(
        (change) => change.kind === 'put' && 'text' in change.value && change.value.text.includes('"status"'),
      ),
    );
    if (this.refuses && isResponse) throw storageError('STORAGE_UNAVAILABLE', 'not now', {});
    return await super.commit(...given);
  }
}

/** As authentication would. */
@Injectable()
class Users implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const incoming = context.switchToHttp().getRequest<{ user?: object; headers: Record<string, string> }>();
    if (incoming.headers['x-user'] !== undefined) incoming.user = { id: incoming.headers['x-user'] };
    return true;
  }
}

@Controller('payments')
@UseGuards(Users)
@UseInterceptors(TenantInterceptor, IdempotencyInterceptor)
class Payments {
  @Post(':id') pay(
    @Param('id') id: string,
    @Body() body: object,
    @Res({ passthrough: true }) response: Reply,
  ) {
    response.header('Location', `/payments/${id}`);
    response.header('Kvent-Position', `of ${id}`);
    response.header('X-Run', 'not kept');
    return { run: count(id), ...body };
  }
  @Post(':id/slow') async slow(@Param('id') id: string) {
    const run = count(id);
    const gate = gates.get(id);
    if (run === 1) gate?.reached();
    if (run === 1) await gate?.open;
    return { run };
  }
  @Post(':id/nothing') @HttpCode(204) nothing(@Param('id') id: string): void {
    count(id);
  }
  @Post(':id/file') file(@Param('id') id: string): StreamableFile {
    return new StreamableFile(Readable.from([`run ${count(id)}`, ' in parts']), { type: 'text/plain' });
  }
  @Post(':id/failing/:status') fail(@Param('id') id: string, @Param('status') status: string): never {
    throw new HttpException({ message: `run ${count(id)}` }, Number(status));
  }
  @Post(':id/endless') endless(@Param('id') id: string): StreamableFile {
    return endless(count(id));
  }
  /** Ends when the client is gone. */
  @Post(':id/abandoned/:result') async abandoned(
    @Param('id') id: string,
    @Param('result') result: string,
    @Res({ passthrough: true }) response: AnyResponse,
  ): Promise<StreamableFile | object> {
    const run = count(id);
    const raw = rawOf(response);
    gates.get(id)?.reached();
    if (run === 1 && !raw.destroyed) await once(raw, 'close');
    if (result === 'stream') return endless(run);
    if (result === 'missing') throw storageError('KEY_NOT_FOUND', `run ${run}`, { key: id });
    if (result === 'fault') throw storageError('STORAGE_UNAVAILABLE', `run ${run}`, {});
    return { run };
  }
  @Post(':id/conflict') conflict(@Param('id') id: string): never {
    throw storageError('STORAGE_CONFLICT', `run ${count(id)}`, conflictOf('own'));
  }
  @Post(':id/failed-check') failedCheck(@Param('id') id: string): never {
    throw storageError('STORAGE_CONFLICT', `run ${count(id)}`, conflictOf('caller'), { retryable: false });
  }
  @Post(':id/accepted') @HttpCode(202) accepted(
    @Param('id') id: string,
    @Res({ passthrough: true }) response: Reply,
  ) {
    response.header('Retry-After', '1');
    return { run: count(id) };
  }
  @Post(':id/later') later(@Param('id') id: string, @Res({ passthrough: true }) response: Reply): never {
    response.header('Retry-After', '1');
    throw new ConflictException(`run ${count(id)}`);
  }
}

/** Bytes that cannot be read without their headers. */
@Controller('encoded')
@UseInterceptors(TenantInterceptor, IdempotencyInterceptor.with({ headers: [] }))
class Encoded {
  @Post(':id')
  @Header('Content-Encoding', 'gzip')
  encoded(@Param('id') id: string, @Res({ passthrough: true }) response: AnyResponse): StreamableFile {
    setHeader(response, 'Vary', 'Accept-Encoding');
    setHeader(response, 'Content-Language', 'en');
    return new StreamableFile(gzipSync(`run ${count(id)}`), {
      type: 'text/plain',
      disposition: 'attachment; filename="run.txt"',
    });
  }
  @Post(':id/part')
  @HttpCode(206)
  part(@Param('id') id: string, @Res({ passthrough: true }) response: AnyResponse): string {
    count(id);
    setHeader(response, 'Content-Range', 'bytes 0-4/9');
    return 'run 1';
  }
}

/** One interceptor for the controller, and others for methods. */
@Controller('nested')
@UseInterceptors(TenantInterceptor, IdempotencyInterceptor)
class Nested {
  @Post(':id/same') @UseInterceptors(IdempotencyInterceptor) same(@Param('id') id: string) {
    return { run: count(id) };
  }
  @Post(':id/optional')
  @UseInterceptors(IdempotencyInterceptor.with({ required: false, headers: ['X-Run'] }))
  optional(@Param('id') id: string, @Res({ passthrough: true }) response: Reply) {
    response.header('X-Run', String(count(id)));
    return {};
  }
  @Post(':id/retried')
  @UseInterceptors(RetryOnConflictInterceptor.with({ delayMs: 0 }), IdempotencyInterceptor)
  retried(@Param('id') id: string) {
    const run = count(id);
    if (run === 1) throw storageError('STORAGE_CONFLICT', 'once', conflictOf('own'));
    return { run };
  }
}

/** The same class, first without a tenant. */
@Controller('inner')
@UseInterceptors(IdempotencyInterceptor)
class Inner {
  @Post(':id') @UseInterceptors(TenantInterceptor, IdempotencyInterceptor) pay(@Param('id') id: string) {
    return { run: count(id) };
  }
}

/** Handlers that send their response by themselves. */
@Controller('own')
@UseInterceptors(TenantInterceptor, IdempotencyInterceptor)
class OwnResponses {
  @Post(':id/res') res(@Res() response: AnyResponse, @Param('id') id: string): void {
    setHeader(response, 'Location', `/own/${id}`);
    setStatus(response, 202);
    send(response, `run ${count(id)}`);
  }
  @Post(':id/later') async later(@Param('id') id: string, @Res() response: AnyResponse): Promise<void> {
    await new Promise(setImmediate);
    send(response, `run ${count(id)}`);
  }
  @Post(':id/next') next(@Param('id') id: string, @Res() response: AnyResponse, @Next() _: unknown): void {
    send(response, `run ${count(id)}`);
  }
  @Post(':id/raw') raw(@Param('id') id: string, @Req() _: unknown, @Res() response: AnyResponse): void {
    rawOf(response).end(`run ${count(id)}`);
  }
  @Post(':id/wrong') wrong(@Param('id') id: string, @Res() response: AnyResponse): void {
    count(id);
    rawOf(response).end({ id } as unknown as string);
  }
  @Post(':id/redirect') @Redirect('/there', 303) redirect(@Param('id') id: string, @Res() _: unknown): void {
    count(id);
  }
}

@Controller('optional')
@UseInterceptors(TenantInterceptor)
class Optional {
  @Post(':id')
  @UseInterceptors(IdempotencyInterceptor.with({ required: false, bodyBytesMax: 10, headers: ['X-Run'] }))
  run(
    @Param('id') id: string,
    @Body() { text }: { text: string },
    @Res({ passthrough: true }) response: Reply,
  ) {
    response.header('X-Run', String(count(id)));
    return text;
  }
}

const briefLeaseMs = 60;
const endOverdueMs = 5_000;

@Controller('brief')
@UseInterceptors(TenantInterceptor, IdempotencyInterceptor.with({ leaseMs: briefLeaseMs }))
class Brief {
  @Post(':id') endless(@Param('id') id: string): StreamableFile {
    return endless(count(id));
  }
}

const day = 24 * 60 * 60 * 1_000;

describe.each(httpAdapters)('IdempotencyInterceptor on %s', (adapter) => {
  const clock = new ManualClock();
  const provider = new RefusingProvider({ clock });
  let app: INestApplication<App>;
  beforeAll(async () => {
    const module = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({
          provider: () => provider,
          tenancy: { isKnown: () => true },
          sweepEveryMs: 'never',
        }),
      ],
      controllers: [Payments, Nested, Inner, Encoded, OwnResponses, Optional, Brief],
    }).compile();
    app = await startOn(adapter, module, (each) => {
      each.useGlobalFilters(new StorageExceptionFilter());
    });
    await app.listen(0, '127.0.0.1');
  });
  afterAll(async () => await app.close());

  const post = (
    path: string,
    key: string | undefined,
    body: object = {},
    headers: Record<string, string> = {},
  ) => {
    const sent = request(app.getHttpServer()).post(path).set('X-Tenant-Id', 'acme').set(headers);
    return (key === undefined ? sent : sent.set('Idempotency-Key', key)).send(body);
  };
  const id = (name: string) => `${adapter}-${name}`;

  it('runs a request once, and sends the first response to each repeat', async () => {
    const pay = () => post(`/payments/${id('one')}`, 'k-1', { cents: 5 });
    const [first, second] = [await pay(), await pay()];
    expect([first.status, first.body, first.headers['x-run']]).toEqual([
      201,
      { run: 1, cents: 5 },
      'not kept',
    ]);
    expect([second.status, second.body]).toEqual([201, first.body]);
    expect(second.headers).toMatchObject({
      location: `/payments/${id('one')}`,
      'kvent-position': first.headers['kvent-position'],
      'content-type': first.headers['content-type'],
      'content-length': first.headers['content-length'],
      'idempotency-replayed': 'true',
    });
    expect(first.headers['idempotency-replayed']).toBeUndefined();
  });

  it('keeps a response without a body, one in parts, and one of another status', async () => {
    for (const [path, status, text] of [
      ['nothing', 204, ''],
      ['file', 201, 'run 1 in parts'],
      ['failing/404', 404, undefined],
    ] as const) {
      const send = () => post(`/payments/${id(path.slice(0, 4))}/${path}`, `k-${path}`);
      const [first, second] = [await send(), await send()];
      expect([first.status, second.status, second.text]).toEqual([status, status, first.text]);
      expect(second.headers['idempotency-replayed']).toBe('true');
      if (text !== undefined) expect(first.text).toBe(text);
    }
  });

  it('keeps what describes the bytes: encoding, language, range, disposition and Vary', async () => {
    const encoded = () => post(`/encoded/${id('gzip')}`, 'k-gzip').set('Accept-Encoding', 'gzip');
    const [first, second] = [await encoded(), await encoded()];
    expect([first.text, second.text]).toEqual(['run 1', 'run 1']);
    for (const { headers } of [first, second])
      expect(headers).toMatchObject({
        'content-encoding': 'gzip',
        'content-language': 'en',
        'content-disposition': 'attachment; filename="run.txt"',
        'content-type': 'text/plain',
        'content-length': String(gzipSync('run 1').length),
      });
    for (const { headers } of [first, second])
      expect(headers['vary']?.split(', ').toSorted()).toEqual(['Accept-Encoding', 'x-tenant-id']);
    const part = () => post(`/encoded/${id('part')}/part`, 'k-part');
    expect((await part()).headers).toMatchObject({ 'content-range': 'bytes 0-4/9' });
    expect(await part()).toMatchObject({ status: 206, headers: { 'content-range': 'bytes 0-4/9' } });
  });

  it.each(['nested', 'inner'])('runs a request once where two of one class handle it (%s)', async (path) => {
    const same = (tenant: string) =>
      post(
        `/${path}/${id(path)}${path === 'nested' ? '/same' : ''}`,
        `k-${path}`,
        {},
        { 'X-Tenant-Id': tenant },
      );
    for (const [tenant, run] of [
      ['acme', 1],
      ['globex', 2],
    ] as const) {
      const [first, second] = [await same(tenant), await same(tenant)];
      expect([first.status, first.body, second.status, second.body]).toEqual([201, { run }, 201, { run }]);
      expect(second.headers['idempotency-replayed']).toBe('true');
    }
  });

  it('takes the options of the method, not those of the controller', async () => {
    const path = `/nested/${id('optional')}/optional`;
    for (const run of ['1', '1']) expect((await post(path, 'k-optional')).headers['x-run']).toBe(run);
    for (const run of ['2', '3']) expect((await post(path, undefined)).headers['x-run']).toBe(run);
  });

  it('runs inside an interceptor that retries', async () => {
    const retried = () => post(`/nested/${id('retried')}/retried`, 'k-retried');
    for (const _ of ['first', 'second'])
      expect(await retried()).toMatchObject({ status: 201, body: { run: 2 } });
  });

  it.each(['res', 'later', 'next', 'raw', 'redirect'])(
    'sends the first response again where the handler sends it by itself (%s)',
    async (path) => {
      const own = () => post(`/own/${id(`own-${path}`)}/${path}`, `k-own-${path}`).redirects(0);
      const [first, second] = [await own(), await own()];
      expect([second.status, second.text]).toEqual([first.status, first.text]);
      expect(second.headers).toMatchObject({
        'idempotency-replayed': 'true',
        vary: expect.stringContaining('x-tenant-id'),
      });
      for (const name of ['content-type', 'location']) expect(second.headers[name]).toBe(first.headers[name]);
      expect(runs.get(id(`own-${path}`))).toBe(1);
    },
  );

  it('runs a request again after a response from 500 on, and after one with Retry-After', async () => {
    for (const [name, path] of [
      ['fault', 'failing/503'],
      ['later', 'later'],
    ] as const) {
      const send = () => post(`/payments/${id(name)}/${path}`, `k-${name}`);
      for (const run of [1, 2, 3]) {
        expect((await send()).headers['idempotency-replayed']).toBeUndefined();
        expect(runs.get(id(name))).toBe(run);
      }
    }
  });

  it('keeps a 202 with Retry-After', async () => {
    const send = () => post(`/payments/${id('accepted')}/accepted`, 'k-accepted');
    expect([(await send()).body, (await send()).body]).toEqual([{ run: 1 }, { run: 1 }]);
  });

  it('keeps a response that the storage has refused, once it does not', async () => {
    const send = () => post(`/payments/${id('refused')}`, 'k-refused');
    provider.refuses = true;
    expect((await send()).body).toEqual({ run: 1 });
    expect((await send()).body).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    await clock.advance(1_000);
    expect((await send()).body).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    provider.refuses = false;
    await clock.advance(10_000);
    await until(async () => (await send()).headers['idempotency-replayed'] === 'true');
    expect(runs.get(id('refused'))).toBe(1);
  });

  it('keeps the response of a request whose lease has ended, where no other request has its key', async () => {
    let open = (): void => undefined;
    const reached = new Promise<void>((resolve) => {
      gates.set(id('stood-still'), { reached: resolve, open: new Promise((end) => (open = end)) });
    });
    const send = () => post(`/payments/${id('stood-still')}/slow`, 'k-stood-still');
    const first = send().then((response) => response);
    await reached;
    await clock.advance(60_000);
    open();
    expect([(await first).body, (await send()).body]).toEqual([{ run: 1 }, { run: 1 }]);
  });

  it('leaves the error of a chunk that Node does not take to the framework', async () => {
    const failed = post(`/own/${id('wrong')}/wrong`, 'k-wrong');
    expect((await failed).status).toBe(500);
    expect((await post(`/own/${id('wrong')}/raw`, 'k-after')).text).toBe('run 2');
  });

  it('runs a request again after a conflict that may succeed later, and not after a failed check', async () => {
    const send = (path: string) => post(`/payments/${id(path)}/${path}`, `k-${path}`);
    for (const run of [1, 2, 3]) {
      expect(await send('conflict')).toMatchObject({ status: 409, body: { retryable: true } });
      expect(runs.get(id('conflict'))).toBe(run);
      expect(await send('failed-check')).toMatchObject({ status: 412, body: { detail: 'run 1' } });
    }
  });

  /** Sends a request, and destroys its connection once `until` has happened. */
  const abandon = async (path: string, key: string, until: (sent: ClientRequest) => Promise<unknown>) => {
    const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
    const headers = { 'X-Tenant-Id': 'acme', 'Idempotency-Key': key, 'Content-Type': 'application/json' };
    const sent = connect({ port, path, method: 'POST', headers });
    sent.on('error', () => undefined).end('{}');
    await until(sent);
    sent.destroy();
  };
  /** Repeats a request until the first one has ended, or the end of its response is overdue. */
  const repeat = async (path: string, key: string) => {
    for (;;) {
      if (clock.waiting > 0) await clock.advance(endOverdueMs);
      const response = await post(path, key);
      if ((response.body as { code?: string }).code !== 'IDEMPOTENCY_IN_PROGRESS') return response;
    }
  };
  const notKept = (firstStatus: number) => ({
    status: 409,
    body: { code: 'IDEMPOTENCY_RESPONSE_TOO_LARGE', firstStatus },
  });

  it('does not run a request again whose client left within the response', async () => {
    const path = `/payments/${id('endless')}/endless`;
    await abandon(path, 'k-endless', async (sent) => {
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      await once(response, 'data');
    });
    expect(await repeat(path, 'k-endless')).toMatchObject(notKept(201));
    expect(runs.get(id('endless'))).toBe(1);
  });

  it.each([
    ['a stream', 'stream', 1, notKept(201)],
    ['an object, whose response is kept', 'object', 1, { status: 201, body: { run: 1 } }],
    ['an error of the client', 'missing', 1, notKept(404)],
    ['an error of the server, and runs it again', 'fault', 2, { status: 503 }],
  ])('does not run a request again whose client left before %s', async (_, result, times, expected) => {
    const path = `/payments/${id(`left-${result}`)}/abandoned/${result}`;
    await abandon(
      path,
      `k-left-${result}`,
      async () =>
        await new Promise<void>((reached) => {
          gates.set(id(`left-${result}`), { reached, open: Promise.resolve() });
        }),
    );
    expect(await repeat(path, `k-left-${result}`)).toMatchObject(expected);
    expect(runs.get(id(`left-${result}`))).toBe(times);
  });

  it('keeps its claim until a response in parts has ended', async () => {
    const path = `/brief/${id('brief')}`;
    const responses = app.get(KeyValueStorage).store(defineState('idempotent-response')).forTenant('acme');
    const expiry = async () => (await responses.get([false, 'k-brief']))?.expiresAt?.getTime() ?? 0;
    await abandon(path, 'k-brief', async (sent) => {
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      await once(response, 'data');
      const before = await expiry();
      await clock.advance(briefLeaseMs - 1);
      while ((await expiry()) === before) await new Promise(setImmediate);
      await clock.advance(1);
      expect((await post(path, 'k-brief')).body).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    });
    expect(await repeat(path, 'k-brief')).toMatchObject(notKept(201));
  });

  it('refuses a repeat while the first request runs, and keeps its response after the end', async () => {
    let open = (): void => undefined;
    const reached = new Promise<void>((resolve) => {
      gates.set(id('slow'), { reached: resolve, open: new Promise((end) => (open = end)) });
    });
    const send = () => post(`/payments/${id('slow')}/slow`, 'k-slow');
    const first = send().then((response) => response);
    await reached;
    const second = await send();
    expect([second.status, (second.body as { code: string }).code, second.headers['retry-after']]).toEqual([
      409,
      'IDEMPOTENCY_IN_PROGRESS',
      '1',
    ]);
    open();
    expect([(await first).body, (await send()).body]).toEqual([{ run: 1 }, { run: 1 }]);
  });

  it('runs a request again once the lease of one that has died is over', async () => {
    let open = (): void => undefined;
    const reached = new Promise<void>((resolve) => {
      gates.set(id('dead'), { reached: resolve, open: new Promise((end) => (open = end)) });
    });
    const send = () => post(`/payments/${id('dead')}/slow`, 'k-dead');
    const first = send().then((response) => response);
    await reached;
    await clock.advance(59_999);
    expect((await send()).status).toBe(409);
    await clock.advance(1);
    expect((await send()).body).toEqual({ run: 2 });
    open();
    // it has lost its claim, so its response is not kept
    expect([(await first).body, (await send()).body]).toEqual([{ run: 1 }, { run: 2 }]);
  });

  it('refuses a key without its request, and another request with the key', async () => {
    const path = `/payments/${id('other')}`;
    expect((await post(path, undefined)).body).toMatchObject({
      status: 400,
      code: 'IDEMPOTENCY_KEY_REQUIRED',
    });
    await post(path, 'k-other', { cents: 1 });
    for (const other of [post(path, 'k-other', { cents: 2 }), post(`${path}?a=1`, 'k-other', { cents: 1 })])
      expect((await other).body).toMatchObject({ status: 422, code: 'IDEMPOTENCY_CONFLICT' });
    expect((await post(path, 'x'.repeat(256))).body).toMatchObject({ status: 413, code: 'LIMIT_EXCEEDED' });
    expect(runs.get(id('other'))).toBe(1);
  });

  it('keeps keys of tenants and of users apart', async () => {
    const path = `/payments/${id('apart')}`;
    const of: Record<string, string>[] = [
      {},
      { 'X-Tenant-Id': 'globex' },
      { 'X-User': 'ada' },
      { 'X-User': 'bob' },
    ];
    const bodies: unknown[] = [];
    for (const headers of [...of, ...of]) bodies.push((await post(path, 'k-apart', {}, headers)).body);
    expect(bodies).toEqual([1, 2, 3, 4, 1, 2, 3, 4].map((run) => ({ run })));
  });

  it('says so where a response was too large to be kept', async () => {
    const send = (text: string, key: string | undefined = `k-${text}`) =>
      post(`/optional/${id(text)}`, key, { text });
    expect([(await send('small')).headers['x-run'], (await send('small')).headers['x-run']]).toEqual([
      '1',
      '1',
    ]);
    expect((await send('more than ten bytes')).text).toBe('more than ten bytes');
    expect((await send('more than ten bytes')).body).toMatchObject({
      status: 409,
      code: 'IDEMPOTENCY_RESPONSE_TOO_LARGE',
      firstStatus: 201,
    });
    const without = () =>
      request(app.getHttpServer())
        .post(`/optional/${id('none')}`)
        .set('X-Tenant-Id', 'acme')
        .send({ text: 'a' });
    expect([(await without()).headers['x-run'], (await without()).headers['x-run']]).toEqual(['1', '2']);
  });

  it('forgets a response after a day, and its row is swept', async () => {
    const pay = () => post(`/payments/${id('day')}`, 'k-day');
    await clock.advance(day);
    await app.get(KeyValueStorage).sweep();
    await pay();
    await clock.advance(day - 1);
    expect((await pay()).body).toEqual({ run: 1 });
    await clock.advance(1);
    expect(await app.get(KeyValueStorage).sweep()).toBe(1);
    expect((await pay()).body).toEqual({ run: 2 });
  });
});

it('refuses two global interceptors with different options', async () => {
  @Controller()
  class Plain {
    @Post() post() {
      return {};
    }
  }
  const module = await Test.createTestingModule({
    imports: [KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), sweepEveryMs: 'never' })],
    controllers: [Plain],
    providers: [IdempotencyInterceptor, IdempotencyInterceptor.with({ leaseMs: 1_000 })].map((useClass) => ({
      provide: APP_INTERCEPTOR,
      useClass,
    })),
  }).compile();
  const app = await startOn('express', module, (each) => {
    each.useGlobalFilters(new StorageExceptionFilter());
  });
  expect(await request(app.getHttpServer()).post('/').set('Idempotency-Key', 'k')).toMatchObject({
    status: 500,
    body: { code: 'INVALID_OPTION' },
  });
  await app.close();
});

it('refuses options of IdempotencyInterceptor that are not allowed', () => {
  for (const options of [
    { leaseMs: 0 },
    { retentionMs: -1 },
    { bodyBytesMax: 600_001 },
    { headers: [1] },
    { ttl: 1 },
  ])
    expect(() => IdempotencyInterceptor.with(options as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
});
