import 'reflect-metadata';
import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import {
  Body,
  Controller,
  ForbiddenException,
  Get,
  Param,
  Post,
  UseInterceptors,
  type INestApplication,
} from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  defineState,
  describeHttp,
  IdempotencyKey,
  IdempotentCall,
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  openStorage,
  StorageExceptionFilter,
  TenantInterceptor,
} from '@kvent/key-value-storage';
import { feedPositionOf } from '@kvent/key-value-storage/provider';
import {
  defineProjection,
  defineStream,
  event,
  EventStream,
  On,
  Projection,
  ProjectionRunner,
} from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { InjectStream } from './inject-stream.decorator.js';
import { getProjectionToken, ProjectionsModule } from './projections.module.js';
import { AwaitProjection } from './await-projection.decorator.js';
import { PositionInterceptor } from './position.interceptor.js';
import { PositionSeal } from './position-seal.js';
import { RequestPositions } from './request-positions.js';
import { httpAdapters, listen } from './spec-support.js';

const definitionOf = <Name extends string>(name: Name, provider?: string) =>
  defineStream(name, {
    events: { paid: event<{ cents: number }>() },
    initial: () => 0,
    evolve: (cents, { data }) => cents + data.cents,
    ...(provider !== undefined && { provider }),
  });
const Tills = definitionOf('till');
const Audits = definitionOf('audit', 'audits');
const Totals = defineState<{ readonly cents: number }>('totals');

/** The effects of an event wait for it. */
let gate: Promise<void> = Promise.resolve();
function closeGate(): () => void {
  let open = (): void => undefined;
  gate = new Promise((resolve) => (open = resolve));
  return open;
}
const TillTotals = defineProjection('till-totals', {
  streams: [Tills],
  into: Totals,
  key: ({ stream }) => stream,
  initial: () => ({ cents: 0 }),
  evolve: ({ cents }, { data }) => ({ cents: cents + data.cents }),
});
@Projection('gated', { streams: [Tills] })
class Gated {
  @On(Tills, 'paid')
  async paid(): Promise<void> {
    await gate;
  }
}
@Projection('audited', { streams: [Audits], provider: 'audits' })
class Audited {
  @On(Audits, 'paid')
  async paid(): Promise<void> {
    await gate;
  }
}

const paid = (cents: number) => [{ type: 'paid', data: { cents } }] as const;
const any = { expectedVersion: 'any' } as const;

@Controller('tills/:id')
@UseInterceptors(TenantInterceptor, PositionInterceptor)
class TillsController {
  constructor(
    @InjectStream(Tills) private readonly tills: EventStream<typeof Tills>,
    @InjectStream(Audits) private readonly audits: EventStream<typeof Audits>,
    @InjectStore(Totals) private readonly totals: KeyValueStore<{ readonly cents: number }>,
    private readonly seal: PositionSeal,
  ) {}

  @Post()
  async pay(
    @Param('id') id: string,
    @Body() { cents }: { readonly cents: number },
    @IdempotencyKey({ required: false }) idempotencyKey: IdempotentCall | undefined,
  ) {
    const { position } = await this.tills.append(id, paid(cents), { ...any, idempotencyKey });
    return { position: await this.seal.seal(position as string) };
  }
  @Post('twice')
  async payTwice(@Param('id') id: string) {
    await Promise.all([this.tills.append(id, paid(1), any), this.tills.append(`${id}-other`, paid(1), any)]);
    const { position } = await this.tills.transact(id, () => paid(1));
    return { position: await this.seal.seal(position as string) };
  }
  @Post('refused')
  async refuse(@Param('id') id: string) {
    await this.tills.append(id, paid(1), any);
    throw new ForbiddenException();
  }
  @Post('audited')
  async audit(@Param('id') id: string) {
    await this.audits.append(id, paid(1), any);
    await this.tills.append(id, paid(1), any);
  }
  @Post('unchanged')
  async unchanged(@Param('id') id: string) {
    await this.tills.transact(id, () => []);
  }
  @Get()
  @AwaitProjection(TillTotals, { timeoutMs: 60_000 })
  async total(@Param('id') id: string) {
    return (await this.totals.get(id))?.value ?? { cents: 0 };
  }
  @Get('gated')
  @AwaitProjection(Gated, { timeoutMs: 1 })
  gated() {
    return 'done';
  }
  @Get('gated-long')
  @AwaitProjection(Gated, { timeoutMs: 600_000 })
  gatedLong() {
    return 'done';
  }
  @Get('audited')
  @AwaitProjection(Audited, { timeoutMs: 1 })
  audited() {
    return 'done';
  }
}

describe.each(httpAdapters)('On %s', (_name, adapter) => {
  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    const module = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({
          provider: () => new MemoryProvider(),
          providers: { audits: () => new MemoryProvider() },
          tenancy: { isKnown: () => true },
        }),
        KeyValueStorageModule.forFeature([Totals]),
        EventStoreModule.forFeature([Tills, Audits]),
        ProjectionsModule.forFeature([TillTotals, Gated, Audited]),
      ],
      controllers: [TillsController],
    }).compile();
    app = module.createNestApplication(adapter(), { logger: false });
    app.useGlobalFilters(new StorageExceptionFilter());
    url = await listen(app);
  });
  afterAll(() => app.close());

  const send = async (method: string, path: string, headers: object = {}, body?: object) => {
    const response = await fetch(`${url}/tills/${path}`, {
      method,
      headers: { 'X-Tenant-Id': 'acme', 'Content-Type': 'application/json', ...headers },
      ...(method === 'POST' && { body: JSON.stringify(body ?? {}) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      position: response.headers.get('Kvent-Position'),
      retryAfter: response.headers.get('Retry-After'),
      body: (/^[{[]/.test(text) ? JSON.parse(text) : text) as unknown,
    };
  };
  const after = (position: string | null) => ({ 'Kvent-Position': position ?? '' });

  it('a client that sends the position back reads what it has written', async () => {
    for (let cents = 1; cents <= 20; cents += 1) {
      const { position, body } = await send('POST', 'read', {}, { cents: 1 });
      expect(body).toEqual({ position });
      expect((await send('GET', 'read', after(position))).body).toEqual({ cents });
    }
  });

  it('concurrent requests have the positions of their own appends, and each the last one', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => await send('POST', 'own', {}, { cents: 1 })),
    );
    expect(answers.map(({ position }) => position)).toEqual(
      answers.map(({ body }) => (body as { position: string }).position),
    );
    expect(new Set(answers.map(({ position }) => position)).size).toBe(20);
    const { position, body } = await send('POST', 'several/twice');
    expect(body).toMatchObject({ position });
  });

  it('an error after the append has it too, and so has a repeat', async () => {
    expect(await send('POST', 'error/refused')).toMatchObject({
      status: 403,
      position: expect.stringMatching(/^[\w-]{43}$/),
    });
    const key = { 'Idempotency-Key': 'k1' };
    const first = await send('POST', 'repeated', key, { cents: 1 });
    expect(await send('POST', 'repeated', key, { cents: 1 })).toEqual(first);
  });

  it('an append has none, and succeeds, while the secret of the seal cannot be read', async () => {
    const seal = jest.spyOn(app.get(PositionSeal, { strict: false }), 'seal');
    seal.mockRejectedValueOnce(new Error('The storage is down.'));
    expect(await send('POST', 'unsealed/refused')).toMatchObject({ status: 403, position: null });
    seal.mockRestore();
    expect((await send('POST', 'unsealed/refused')).position).not.toBeNull();
  });

  it('a request that appends nothing has none', async () => {
    expect((await send('POST', 'unchanged/unchanged')).position).toBeNull();
    expect((await send('GET', 'unchanged')).position).toBeNull();
  });

  it('positions of two providers are in one header, and each projection awaits its own', async () => {
    const open = closeGate();
    const { position } = await send('POST', 'both/audited');
    expect(position).toMatch(/^audits=[\w-]{43}, [\w-]{43}$/);
    const [ofAudits = '', ofTills = ''] = position?.split(', ') ?? [];
    expect((await send('GET', 'both', after(ofTills))).body).toEqual({ cents: 1 });
    expect((await send('GET', 'both/audited', after(ofTills))).body).toBe('done');
    expect((await send('GET', 'both/audited', after(ofAudits))).status).toBe(503);
    open();
  });

  it.each([
    '',
    'yesterday',
    '1',
    feedPositionOf(0, 1),
    'A'.repeat(43),
    `${feedPositionOf(0, 1)},`,
    `a%=${feedPositionOf(0, 1)}`,
    `a=b=${feedPositionOf(0, 1)}`,
  ])('the header %j is refused with what is allowed', async (header) => {
    expect(await send('GET', 'read', { 'Kvent-Position': header })).toMatchObject({
      status: 400,
      body: {
        code: 'INVALID_POSITION',
        detail: `Kvent-Position must be the value of this header in an earlier response; got ${JSON.stringify(header)}.`,
      },
    });
  });

  it('a projection that is behind is a 503 after the timeout, and ends no later than its client', async () => {
    const open = closeGate();
    const { position } = await send('POST', 'slow', {}, { cents: 1 });
    const behind = await send('GET', 'slow/gated', after(position));
    expect(behind).toMatchObject({
      status: 503,
      retryAfter: '1',
      body: { code: 'PROJECTION_BEHIND', retryable: true },
    });
    expect(behind.body).not.toHaveProperty('position');
    const runner = app.get<ProjectionRunner>(getProjectionToken(Gated), { strict: false });
    const wait = runner.whenCaughtUp.bind(runner);
    const client = new AbortController();
    const ended = new Promise((resolve) => {
      jest.spyOn(runner, 'whenCaughtUp').mockImplementationOnce(async (options) => {
        const waiting = wait(options);
        client.abort();
        await waiting.catch(resolve);
      });
    });
    const headers = { 'X-Tenant-Id': 'acme', ...after(position) };
    await expect(fetch(`${url}/tills/slow/gated-long`, { headers, signal: client.signal })).rejects.toThrow();
    await ended;
    open();
    expect((await send('GET', 'slow/gated-long', after(position))).body).toBe('done');
  });

  it('a client that left while its position was read is not waited for', async () => {
    const { position } = await send('POST', 'left', {}, { cents: 1 });
    const runner = app.get<ProjectionRunner>(getProjectionToken(Gated), { strict: false });
    const seal = app.get(PositionSeal, { strict: false });
    const open = seal.open.bind(seal);
    const client = new AbortController();
    const server = app.getHttpServer() as Server;
    const closed = once(server, 'request').then(async ([, response]) => {
      await once(response as ServerResponse, 'close');
    });
    jest.spyOn(seal, 'open').mockImplementationOnce(async (sealed) => {
      client.abort();
      await closed;
      return await open(sealed);
    });
    const signal = new Promise<AbortSignal | undefined>((resolve) => {
      jest.spyOn(runner, 'whenCaughtUp').mockImplementationOnce(async (options) => resolve(options?.signal));
    });
    const headers = { 'X-Tenant-Id': 'acme', ...after(position) };
    await expect(fetch(`${url}/tills/left/gated-long`, { headers, signal: client.signal })).rejects.toThrow();
    expect((await signal)?.aborted).toBe(true);
  });

  it('a position of another tenant, and one that does not exist, show nothing', async () => {
    const { position } = await send('POST', 'secret', {}, { cents: 1 });
    const never = await app.get(PositionSeal, { strict: false }).seal(feedPositionOf(9, 9));
    for (const sent of [position, never])
      expect(await send('GET', 'secret', { 'X-Tenant-Id': 'globex', ...after(sent) })).toMatchObject({
        status: 200,
        body: { cents: 0 },
        position: null,
      });
  });

  it('the headers and the problems are described', () => {
    describeHttp(app);
    const { paths } = SwaggerModule.createDocument(app, new DocumentBuilder().build());
    const { get, post } = paths['/tills/{id}'] ?? {};
    expect(post?.responses['201']).toMatchObject({ headers: { 'Kvent-Position': {} } });
    expect(get?.parameters).toContainEqual(
      expect.objectContaining({ in: 'header', name: 'Kvent-Position', required: false }),
    );
    expect(get?.responses).toMatchObject({
      400: { description: expect.stringContaining('`INVALID_POSITION`') },
      503: { description: '`PROJECTION_BEHIND`', headers: { 'Retry-After': {} } },
    });
    expect(get?.responses['200']).not.toHaveProperty('headers');
  });
});

describe('A header of positions', () => {
  it('has the largest position of each provider, also of a list that a proxy or a client has joined', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const seal = new PositionSeal(storage);
    const [one, two] = [feedPositionOf(0, 1), feedPositionOf(0, 2)];
    const [sealedOne, sealedTwo] = [await seal.seal(one), await seal.seal(two)];
    const header = `${sealedTwo}, ${sealedOne},a%2Cb=${sealedOne}`;
    const positions = await RequestPositions.openedWith(seal, header);
    expect(await positions.sealedWith(seal)).toBe(`${sealedTwo}, a%2Cb=${sealedOne}`);
    expect([positions.of(undefined), positions.of('a,b'), positions.of('c')]).toEqual([two, one, undefined]);
  });
});

describe('@AwaitProjection', () => {
  it('refuses what is no projection, and options that are not allowed', () => {
    expect(() => AwaitProjection(Tills as never)).toThrow('must come from defineProjection');
    expect(() => AwaitProjection(TillTotals, { timeout: 1 } as object)).toThrow("no option 'timeout'");
    expect(() => AwaitProjection(TillTotals, { timeoutMs: 0.5 })).toThrow(
      'AwaitProjection: timeoutMs must be a whole number of milliseconds from 1, below 2^31; got 0.5.',
    );
  });
});
