/** Requests under an idempotency key whose client, or an interceptor outside, does not wait. */
import 'reflect-metadata';
import { once } from 'node:events';
import { request, type Server } from 'node:http';
import { connect, constants } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import {
  Controller,
  Injectable,
  Param,
  Post,
  RequestTimeoutException,
  StreamableFile,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
} from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { concatMap, from, map, NEVER, race, type Observable } from 'rxjs';
import { KeyValueStorage } from '../../core/store/key-value-store.js';
import { openStorage } from '../../core/store/open-storage.js';
import { defineState } from '../../core/store/state-definition.js';
import type { StorageProvider } from '../../core/port/storage-provider.js';
import { DurableMemory } from '../../testing/kit/durable-memory.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { rawOf, type AnyResponse } from '../http/http-exchange.js';
import { ProblemDetailsFilter } from '../http/problem-details.filter.js';
import { StorageExceptionFilter } from '../http/storage-exception.filter.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';

/** A moment that one side awaits, and the other lets happen. */
class Moment {
  happen = (): void => undefined;
  readonly happened = new Promise<void>((resolve) => (this.happen = resolve));
}

/** The moments of the first request under a key; its repeats wait for none of them. */
class Story {
  runs = 0;
  requests = 0;
  readonly handling = new Moment();
  readonly handlerMayEnd = new Moment();
  readonly outside = new Moment();
  readonly outsideMayEnd = new Moment();
  readonly timeout = new Moment();
  readonly left = new Moment();
}
const stories = new Map<string, Story>();
const storyOf = (id: string): Story => stories.get(id) as Story;

/** As an interceptor of timeouts, and one that does something with each result. */
@Injectable()
class Outside implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const story = storyOf(http.getRequest<{ params: { id: string } }>().params.id);
    story.requests += 1;
    if (story.requests > 1) return next.handle();
    void once(rawOf(http.getResponse<AnyResponse>()), 'close').then(story.left.happen);
    const timeout = from(story.timeout.happened).pipe(
      map(() => {
        throw new RequestTimeoutException();
      }),
    );
    const result = next.handle().pipe(
      concatMap(async (value: unknown) => {
        story.outside.happen();
        await story.outsideMayEnd.happened;
        return value;
      }),
    );
    return race(result, timeout, NEVER);
  }
}

const leaseMs = 66_666;
const renewalMs = 22_222;
const endOverdueMs = 5_000;

@Controller()
@UseInterceptors(Outside, IdempotencyInterceptor.with({ leaseMs }))
class Payments {
  @Post(':id') async pay(@Param('id') id: string) {
    const story = storyOf(id);
    const run = (story.runs += 1);
    story.handling.happen();
    if (run === 1) await story.handlerMayEnd.happened;
    return { run };
  }
  @Post(':id/endless') endless(@Param('id') id: string) {
    storyOf(id).runs += 1;
    return new StreamableFile(new Readable({ read: () => undefined }));
  }
}

interface Sent {
  readonly answer: Promise<{ readonly status: number; readonly body: unknown }>;
  readonly leave: () => void;
}
type Send = (port: number, path: string, key: string) => Sent;

const headersOf = (key: string) => ({ 'content-type': 'application/json', 'idempotency-key': key });

const sendHttp1: Send = (port, path, key) => {
  const sent = request({ port, path, method: 'POST', headers: headersOf(key), agent: false });
  const answer = new Promise<{ status: number; body: unknown }>((resolve) => {
    sent
      .on('error', () => undefined)
      .on('response', (response) => {
        const status = response.statusCode ?? 0;
        void text(response).then((body) => resolve({ status, body: JSON.parse(body) }));
      });
  });
  sent.end('{}');
  return { answer, leave: () => sent.destroy() };
};

const sendHttp2: Send = (port, path, key) => {
  const session = connect(`http://127.0.0.1:${port}`);
  const sent = session.request({ ':method': 'POST', ':path': path, ...headersOf(key) });
  sent.on('close', () => session.close());
  const answer = new Promise<{ status: number; body: unknown }>((resolve) => {
    sent
      .on('error', () => undefined)
      .on('response', ({ ':status': status = 0 }) => {
        void text(sent).then((body) => resolve({ status, body: JSON.parse(body) }));
      });
  });
  sent.end('{}');
  return { answer, leave: () => sent.close(constants.NGHTTP2_CANCEL) };
};

const fronts = [
  ['Express', () => new ExpressAdapter(), sendHttp1],
  ['Fastify', () => new FastifyAdapter(), sendHttp1],
  ['Fastify with HTTP/2', () => new FastifyAdapter({ http2: true }), sendHttp2],
] as const;
const Responses = defineState<{ readonly status?: number }, readonly [false, string]>('idempotent-response');

async function start(provider: StorageProvider, adapter: ExpressAdapter | FastifyAdapter) {
  const module = await Test.createTestingModule({
    imports: [KeyValueStorageModule.forRoot({ provider: () => provider, sweepEveryMs: 'never' })],
    controllers: [Payments],
  }).compile();
  const app = module.createNestApplication(adapter, { logger: false });
  app.useGlobalFilters(new ProblemDetailsFilter(), new StorageExceptionFilter());
  const server = (await app.listen(0, '127.0.0.1')) as Server;
  return { app, port: (server.address() as AddressInfo).port };
}

/** The next commit waits: that of a claim. */
function holdClaim(provider: StorageProvider) {
  const commit = provider.commit.bind(provider);
  const [begun, mayEnd] = [new Moment(), new Moment()];
  jest.spyOn(provider, 'commit').mockImplementationOnce(async (...given) => {
    begun.happen();
    await mayEnd.happened;
    return await commit(...given);
  });
  return { begun: begun.happened, end: mayEnd.happen };
}

describe.each(fronts)('On %s, a request under an idempotency key', (name, adapter, sendTo) => {
  const clock = new ManualClock();
  const memory = new DurableMemory();
  const create = () => memory.create({ clock, location: name });
  const provider = create();
  let app: INestApplication;
  let port = 0;
  beforeAll(async () => {
    ({ app, port } = await start(provider, adapter()));
  });
  afterAll(async () => await app.close());

  const begin = (id: string) => {
    const story = new Story();
    stories.set(`${name} ${id}`, story);
    const send = (path = '') => sendTo(port, `/${encodeURIComponent(`${name} ${id}`)}${path}`, id);
    return { story, send };
  };
  const isOverdue = async () => {
    while (clock.waiting === 0) await setImmediate();
    await clock.advance(endOverdueMs);
  };
  const isKept = async (key: string) => {
    const responses = app.get(KeyValueStorage).store(Responses);
    while ((await responses.get([false, key]))?.value.status === undefined) await setImmediate();
  };
  const notKept = (firstStatus: number) => ({
    status: 409,
    body: { code: 'IDEMPOTENCY_RESPONSE_TOO_LARGE', firstStatus },
  });

  it('does not run again when its client left, and an interceptor outside has given it up', async () => {
    const { story, send } = begin('given-up');
    const first = send();
    await story.handling.happened;
    first.leave();
    await story.left.happened;
    story.timeout.happen();
    await clock.advance(endOverdueMs);
    story.handlerMayEnd.happen();
    await clock.advance(leaseMs);
    expect(await send().answer).toMatchObject(notKept(408));
    expect(story.runs).toBe(1);
  });

  it('that an interceptor outside gave up keeps what its client got', async () => {
    const { story, send } = begin('timeout');
    const first = send();
    await story.handling.happened;
    story.timeout.happen();
    const { status, body } = await first.answer;
    expect(status).toBe(408);
    story.handlerMayEnd.happen();
    expect(await send().answer).toEqual({ status, body });
    expect(story.runs).toBe(1);
  });

  it('that was given up during its claim is not renewed: its key is free after the lease', async () => {
    const intervals = jest.spyOn(globalThis, 'setInterval');
    const { story, send } = begin('claim');
    const claim = holdClaim(provider);
    const first = send();
    await claim.begun;
    story.timeout.happen();
    expect((await first.answer).status).toBe(408);
    claim.end();
    await clock.advance(leaseMs);
    story.handlerMayEnd.happen();
    expect(await send().answer).toEqual({ status: 201, body: { run: 1 } });
    expect(intervals.mock.calls.filter(([, everyMs]) => everyMs === renewalMs)).toHaveLength(1);
    intervals.mockRestore();
  });

  it('whose client left during its claim is not in progress for ever', async () => {
    const { story, send } = begin('left-early');
    const claim = holdClaim(provider);
    const first = send('/endless');
    await claim.begun;
    first.leave();
    await story.left.happened;
    story.outsideMayEnd.happen();
    claim.end();
    await isOverdue();
    await isKept('left-early');
    expect(await send('/endless').answer).toMatchObject(notKept(201));
    expect(story.runs).toBe(1);
  });

  it.each(['while its handler ran', 'after its handler'])(
    'whose client left %s keeps its response, which an interceptor outside has delayed',
    async (moment) => {
      const { story, send } = begin(moment);
      const leave = async () => {
        first.leave();
        await story.left.happened;
      };
      const first = send();
      await story.handling.happened;
      if (moment === 'while its handler ran') await leave();
      story.handlerMayEnd.happen();
      await story.outside.happened;
      if (moment === 'after its handler') await leave();
      await clock.advance(endOverdueMs - 1);
      story.outsideMayEnd.happen();
      await isKept(moment);
      expect(await send().answer).toEqual({ status: 201, body: { run: 1 } });
      await clock.advance(1);
    },
  );

  it('whose client left is kept before the application closes', async () => {
    const { story, send } = begin('shutdown');
    const first = send();
    await story.handling.happened;
    first.leave();
    await story.left.happened;
    story.handlerMayEnd.happen();
    await story.outside.happened;
    await app.close();
    await using storage = await openStorage(create());
    expect((await storage.store(Responses).get([false, 'shutdown']))?.value).toMatchObject({ status: 201 });
  });
});
