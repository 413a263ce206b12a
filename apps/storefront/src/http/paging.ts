/**
 * Lists return `{ items, next }`, and the address of the next page in the `Link` header (RFC 8288).
 */
import type { Page, PageRequest } from '@kvent/key-value-storage';
import type { Response } from 'express';
import { z } from 'zod';

export const whole = z.string().regex(/^\d{1,9}$/, 'a whole number');

export const PageQuery = z.strictObject({
  limit: whole
    .transform(Number)
    .pipe(z.int().min(1))
    .optional()
    .describe('The maximum number of items, from 1 to 1000. Default: 100.'),
  cursor: z.string().optional().describe('The `next` of the previous page.'),
  order: z.enum(['asc', 'desc']).default('asc').describe('The order of the keys.'),
});
export const PrefixQuery = PageQuery.extend({
  prefix: z.string().min(1).optional().describe('A prefix of the keys.'),
});

/** As options of the store. */
export function pageRequest({
  limit,
  cursor,
  order,
  prefix,
}: z.infer<typeof PageQuery> & { readonly prefix?: PageRequest['prefix'] | undefined }): PageRequest {
  return {
    ...(limit !== undefined && { limit }),
    ...(prefix !== undefined && { prefix }),
    ...(cursor !== undefined && { cursor }),
    reverse: order === 'desc',
  };
}

/** Returns the page, and sets the `Link` header to the next one. */
export function answerPage<From, To>(
  { items, next }: Page<From>,
  show: (item: From) => To,
  response: Response,
): { items: To[]; next?: string } {
  if (next === undefined) return { items: items.map(show) };
  linkToNext(response, 'cursor', next);
  return { items: items.map(show), next };
}

/** The same address with one parameter changed. */
export function linkToNext(response: Response, parameter: string, value: string): void {
  const { originalUrl, path } = response.req;
  const query = new URLSearchParams(originalUrl.split('?')[1] ?? '');
  query.set(parameter, value);
  response.setHeader('Link', `<${path}?${query.toString()}>; rel="next"`);
}

/** For the API page. */
export const pageOf = (item: z.ZodType) => z.object({ items: z.array(item), next: z.string().optional() });
