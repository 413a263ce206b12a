/**
 * A client that opens server-sent events of a watch and reads nothing: what waits for it is
 * bounded. Nest bounds it, so this is also the test of the version that is installed.
 */
import { connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Controller, Module, Sse, type MessageEvent } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { expect, it } from '@jest/globals';
import {
  defineState,
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  toObservable,
} from '@kvent/key-value-storage';
import { finalize, map, tap, type Observable } from 'rxjs';
import { until } from '../postgres/until.js';

const Notes = defineState<string>('note');
const text = 'x'.repeat(100_000);
/** Far more than the limit of Nest and the buffers of both sockets. */
const unreadMax = 1_000;

@Controller()
class NotesController {
  sent = 0;
  isClosed = false;

  constructor(@InjectStore(Notes) readonly notes: KeyValueStore<string>) {}

  @Sse('live')
  live(): Observable<MessageEvent> {
    return toObservable(this.notes.watch('hot')).pipe(
      map((entry) => ({ data: entry?.value ?? '' })),
      tap(() => (this.sent += 1)),
      finalize(() => (this.isClosed = true)),
    );
  }
}

@Module({
  imports: [
    KeyValueStorageModule.forRoot({ provider: new MemoryProvider(), sweepEveryMs: 'never' }),
    KeyValueStorageModule.forFeature([Notes]),
  ],
  controllers: [NotesController],
})
class NotesModule {}

it('a client that reads nothing of a watch is dropped, and its watch ends', async () => {
  const application = await NestFactory.create(NotesModule, { logger: false });
  await application.listen(0, '127.0.0.1');
  const { port } = new URL(await application.getUrl());
  const socket = connect(Number(port), '127.0.0.1', () =>
    socket.write('GET /live HTTP/1.1\r\nhost: a\r\n\r\n'),
  );
  socket.pause().on('error', () => undefined);
  try {
    const controller = application.get(NotesController);
    await until('the watch begins', () => controller.sent === 1);
    while (!controller.isClosed && controller.sent < unreadMax) {
      const { sent } = controller;
      await controller.notes.set('hot', `${sent}${text}`);
      while (controller.sent === sent && !controller.isClosed) await setImmediate();
    }
    expect(controller.isClosed).toBe(true);
  } finally {
    socket.destroy();
    await application.close();
  }
});
