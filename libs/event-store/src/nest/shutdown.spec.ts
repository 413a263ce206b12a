import 'reflect-metadata';
import {
  Controller,
  Injectable,
  Module,
  Param,
  Post,
  type BeforeApplicationShutdown,
  type INestApplication,
  type OnApplicationShutdown,
} from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  KeyValueStorageModule,
  MemoryProvider,
  openStorage,
  type KeyValueStorageOptions,
} from '@kvent/key-value-storage';
import { temporaryJsonFile } from '@kvent/key-value-storage/testing';
import {
  defineStream,
  event,
  EventStore,
  EventStream,
  type StreamLogEntry,
  type StreamSession,
} from '../core.js';
import { EventStoreModule } from './event-store.module.js';
import { InjectStream } from './inject-stream.decorator.js';
import { httpAdapters, listen } from './spec-support.js';

const Till = defineStream('till', {
  events: { paid: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
  snapshot: { every: 2 },
});
const paid = { type: 'paid' } as const;

/** `opened` resolves when `open` is called. */
class Gate {
  open = (): void => undefined;
  readonly opened = new Promise<void>((resolve) => (this.open = resolve));
}

@Injectable()
class Cashier implements BeforeApplicationShutdown, OnApplicationShutdown {
  constructor(@InjectStream(Till) readonly tills: EventStream<typeof Till>) {}
  shutdownWork: (() => Promise<void>) | undefined;
  shuttingDown = false;
  beforeApplicationShutdown(): void {
    this.shuttingDown = true;
  }
  async onApplicationShutdown(): Promise<void> {
    await this.shutdownWork?.();
  }
}

const begun = new Map<string, Gate>();
const gates = new Map<string, Gate>();
const gateOf = (map: Map<string, Gate>, id: string): Gate => {
  const gate = map.get(id) ?? new Gate();
  map.set(id, gate);
  return gate;
};

@Controller('tills')
class TillController {
  constructor(private readonly cashier: Cashier) {}
  /** A request in progress when the application shuts down. */
  @Post(':id') async pay(@Param('id') id: string) {
    return await this.cashier.tills.session(id, async (session) => {
      gateOf(begun, id).open();
      await gateOf(gates, id).opened;
      await session.append([paid]);
      return { version: session.version, aborted: session.signal.aborted };
    });
  }
}
@Module({
  imports: [EventStoreModule.forFeature([Till])],
  providers: [Cashier],
  controllers: [TillController],
})
class TillModule {}

let app: INestApplication | undefined;
let url: string;
const entries: StreamLogEntry[] = [];
afterEach(async () => {
  await app?.close();
  app = undefined;
  entries.length = 0;
  begun.clear();
  gates.clear();
});
async function start(
  provider: KeyValueStorageOptions['provider'],
  adapter: () => AbstractHttpAdapter = () => new ExpressAdapter(),
): Promise<Cashier> {
  const observer = { observe: (entry: StreamLogEntry) => void entries.push(entry) };
  const imports = [
    KeyValueStorageModule.forRoot({ provider }),
    EventStoreModule.forRoot({ observer }),
    TillModule,
  ];
  const module = await Test.createTestingModule({ imports }).compile();
  app = module.createNestApplication(adapter(), { logger: false });
  url = await listen(app);
  return app.get(Cashier, { strict: false });
}
const close = async (): Promise<void> => {
  const closing = app;
  app = undefined;
  await closing?.close();
};
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  );

describe('When the application shuts down', () => {
  it.each(httpAdapters)(
    'a request with a session finishes on %s, and no new session opens',
    async (_, adapter) => {
      await using file = await temporaryJsonFile();
      const cashier = await start(file, adapter);
      const response = fetch(`${url}/tills/one`, { method: 'POST', headers: { connection: 'close' } });
      await gateOf(begun, 'one').opened;
      const closing = close();
      while (!cashier.shuttingDown) await new Promise(setImmediate);
      for (let n = 0; (await codeOf(cashier.tills.openSession(`other ${n}`))) === 'done'; n += 1)
        await new Promise(setImmediate);
      await expect(cashier.tills.openSession('two')).rejects.toMatchObject({
        code: 'STORAGE_NOT_OPEN',
        effect: 'none',
      });
      expect(await cashier.tills.append('three', [paid], { expectedVersion: 'absent' })).toMatchObject({
        version: 1,
        replayed: false,
      });
      gateOf(gates, 'one').open();
      expect(await (await response).json()).toEqual({ version: 1, aborted: false });
      await closing;
    },
  );

  it('an open session is closed: its signal has the reason, and its stream is free for the next process', async () => {
    await using file = await temporaryJsonFile();
    const cashier = await start(file);
    const session = await cashier.tills.openSession('one', { sessionTimeoutMs: 3_600_000, renewal: 'auto' });
    await session.append([paid]);
    await close();
    expect(session.signal.aborted).toBe(true);
    expect(session.signal.reason).toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    expect(entries.at(-1)).toMatchObject({ event: 'session closed', id: 'one', freed: true });
    await expect(session.append([paid])).rejects.toMatchObject({ code: 'SESSION_NOT_OPEN' });
    await using storage = await openStorage(file);
    await using next = await new EventStore(storage).stream(Till).openSession('one', { openTimeoutMs: 0 });
    expect(next.version).toBe(1);
  });

  it('the shutdown hooks of the application run first, and pending snapshots are written before the storage closes', async () => {
    const provider = new MemoryProvider();
    const scan = provider.scan.bind(provider);
    provider.scan = async (...args) => {
      // a slow disk
      for (let round = 0; round < 20; round += 1) await new Promise(setImmediate);
      return await scan(...args);
    };
    const cashier = await start(() => provider);
    let session: StreamSession<typeof Till> | undefined = await cashier.tills.openSession('one');
    cashier.shutdownWork = async () => {
      await session?.append([paid], { close: true });
      session = undefined;
      await cashier.tills.append('two', [paid, paid], { expectedVersion: 'absent' });
    };
    await close();
    expect(session).toBeUndefined();
    expect(entries.map((entry) => `${entry.event} ${entry.id}`)).toEqual([
      'session opened one',
      'events appended one',
      'session closed one',
      'events appended two',
      'snapshot created two',
    ]);
  });

  it('it closes also when the storage fails', async () => {
    let down = false;
    const provider = new MemoryProvider();
    const commit = provider.commit.bind(provider);
    provider.commit = (...args) => (down ? Promise.reject(new Error('down')) : commit(...args));
    const cashier = await start(() => provider);
    const session = await cashier.tills.openSession('one');
    down = true;
    await close();
    expect(session.signal.aborted).toBe(true);
  });
});
