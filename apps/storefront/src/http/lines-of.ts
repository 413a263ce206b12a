import { BadRequestException, PayloadTooLargeException } from '@nestjs/common';
import type { NodeRequest } from './exchange.js';

const lineLengthMax = 100 * 1_024;

/**
 * The lines of a body that no parser has read, which may be of any length: the client sends it no
 * faster than its lines are used. 413 for a line of more than 100 KiB.
 */
export async function* linesOf(request: NodeRequest): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  try {
    // an early end must not close the connection: it is needed for the response
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() as string;
      yield* lines;
      if (rest.length > lineLengthMax)
        throw new PayloadTooLargeException('A line of the request is too large.');
    }
  } catch (error) {
    if (request.destroyed) throw new BadRequestException('The request was closed before its end.');
    throw error;
  } finally {
    // what is left is not used; a client reads the response when it has sent all
    request.resume();
  }
  if (rest !== '') yield rest;
}
