/** The HTTP framework below Nest: Express or Fastify, with the same answers. */
import type { AbstractHttpAdapter } from '@nestjs/core';
import { sendFrameworkProblem } from '@kvent/key-value-storage';
import { jsonLinesType } from './json-lines.js';

export type HttpFramework = 'express' | 'fastify';

const bodyBytesMax = 100 * 1_024;

/** Loads the framework on demand. */
export async function createAdapter(framework: HttpFramework): Promise<AbstractHttpAdapter> {
  return framework === 'express' ? await createExpress() : await createFastify();
}

async function createExpress(): Promise<AbstractHttpAdapter> {
  const { ExpressAdapter } = await import('@nestjs/platform-express');
  const adapter = new ExpressAdapter();
  // Express would add an ETag of the body to each response; ours are the versions of entries.
  adapter.set('etag', false);
  adapter.disable('x-powered-by');
  return adapter;
}

/** Each option replaces a default that differs from Express. */
async function createFastify(): Promise<AbstractHttpAdapter> {
  const { FastifyAdapter } = await import('@nestjs/platform-fastify');
  const adapter = new FastifyAdapter({
    bodyLimit: bodyBytesMax,
    onProtoPoisoning: 'ignore',
    onConstructorPoisoning: 'ignore',
    // CloseOnShutdown sends `Connection: close` with the real response
    return503OnClosing: false,
    frameworkErrors: sendFrameworkProblem,
    // a key may have 1,024 bytes, each of them as three characters in an address
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, maxParamLength: 16_384 },
  });
  // not parsed: see `linesOf`
  adapter.getInstance().addContentTypeParser(jsonLinesType, (_request, _payload, done) => done(null));
  return adapter;
}
