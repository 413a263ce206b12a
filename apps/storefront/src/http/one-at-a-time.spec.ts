import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import type { NodeRequest, NodeResponse } from './exchange.js';
import { oneAtATime } from './one-at-a-time.js';

describe('Pipelined requests of one connection', () => {
  const settle = () => new Promise(setImmediate);
  const connection = () => {
    const socket = { destroyed: false };
    const begun: number[] = [];
    const send = (request: number) => {
      const response = new EventEmitter();
      oneAtATime({ socket } as unknown as NodeRequest, response as unknown as NodeResponse, () =>
        begun.push(request),
      );
      return { sent: () => response.emit('close') };
    };
    return { socket, begun, send };
  };

  it('are handled one at a time: the next one waits until the response before it is sent', async () => {
    const { begun, send } = connection();
    const [first, second] = [send(1), send(2), send(3)];
    await settle();
    expect(begun).toEqual([1]);
    first?.sent();
    await settle();
    expect(begun).toEqual([1, 2]);
    second?.sent();
    await settle();
    expect(begun).toEqual([1, 2, 3]);
  });

  it('do not delay other connections, and are not handled after their connection is closed', async () => {
    const [one, other] = [connection(), connection()];
    const first = one.send(1);
    one.send(2);
    other.send(1);
    expect(other.begun).toEqual([1]);
    one.socket.destroyed = true;
    first.sent();
    await settle();
    expect(one.begun).toEqual([1]);
  });
});
