/** Lists answer `{ items, next }`, and the address of the next page in the `Link` header (RFC 8288). */
import type { Page, PageRequest } from '@kvent/key-value-storage';
import type { Request, Response } from 'express';
import { z } from 'zod';

const whole = z.string().regex(/^\d+$/, 'a whole number');

export const PageQuery = z.strictObject({
  limit: whole.transform(Number).optional().describe('Items at most, from 1 to 1000. 100 if not given.'),
  cursor: z.string().optional().describe('What the page before answered as `next`.'),
  order: z.enum(['asc', 'desc']).default('asc').describe('Of the keys.'),
});
export const PrefixQuery = PageQuery.extend({ prefix: z.string().min(1).optional().describe('What the keys begin with.') });

/** In the words of the store. */
export function pageRequest({
  limit,
  cursor,
  order,
  prefix,
}: z.infer<typeof PageQuery> & { readonly prefix?: string | undefined }): PageRequest {
  return {
    ...(limit !== undefined && { limit }),
    ...(prefix !== undefined && { prefix }),
    ...(cursor !== undefined && { cursor }),
    reverse: order === 'desc',
  };
}

/** Answers the page, and says in a header where the next one is. */
export function answerPage<From, To>(
  { items, next }: Page<From>,
  show: (item: From) => To,
  response: Response,
): { items: To[]; next?: string } {
  if (next === undefined) return { items: items.map(show) };
  response.setHeader('Link', `<${nextAddress(response.req, next)}>; rel="next"`);
  return { items: items.map(show), next };
}

function nextAddress({ originalUrl, path }: Request, cursor: string): string {
  const query = new URLSearchParams(originalUrl.split('?')[1] ?? '');
  query.set('cursor', cursor);
  return `${path}?${query.toString()}`;
}

/** For the API page. */
export const pageOf = (item: z.ZodType) => z.object({ items: z.array(item), next: z.string().optional() });
