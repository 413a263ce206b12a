import { inspect } from '../../core/base/inspect.js';
import { invalidOption } from '../../core/base/options.js';
import { representation, type Representation } from '../../core/store/entry.js';

/**
 * The ETag that `EtagInterceptor` sends for an entry or a loaded stream, without its quotes. Its
 * digest names tenant, state and key, and it has the schema version: another row may have the same
 * `entry.etag`, as rows of one commit do, but never the same ETag of HTTP. Use it as the `id` of
 * server-sent events. `INVALID_OPTION` for an object that has none.
 */
export function httpEtagOf(represented: object): string {
  const { etag } = (represented as { readonly [representation]?: Representation })[representation] ?? {};
  if (etag !== undefined) return etag;
  throw invalidOption(`httpEtagOf takes an entry or a loaded stream; got ${inspect(represented)}.`);
}
