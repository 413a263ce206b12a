/**
 * Lists return `{ items, next, previous }`, and the addresses of these pages in the `Link` header.
 */
import { z } from 'zod';

export const whole = z.string().regex(/^\d{1,9}$/, 'a whole number');

/** The query of a list: the parameters of `@Paged()`, which checks them, and those of the list. */
export const ListQuery = z.strictObject({
  limit: z.unknown().optional(),
  cursor: z.unknown().optional(),
  order: z.unknown().optional(),
});

/** For the API page. */
export const pageOf = (item: z.ZodType) =>
  z.object({ items: z.array(item), next: z.string().optional(), previous: z.string().optional() });
