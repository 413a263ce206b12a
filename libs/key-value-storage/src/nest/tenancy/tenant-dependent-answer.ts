/**
 * Answers that depend on the tenant must not be handed to another one by a cache that stands in
 * between: `Vary` names the header that the tenant is taken from, and `Cache-Control` keeps the
 * answer out of shared caches, whatever the status.
 */
import type { ExecutionContext } from '@nestjs/common';
import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { rawOf, type AnyResponse } from '../http/http-exchange.js';
import type { TenancyOptions } from '../options/key-value-storage-options.js';
import { tenantHeaderOf } from './tenant-resolution.js';

/**
 * The headers that the tenants of this response were taken from. Symbol.for: another copy of the
 * package may have marked it first.
 */
const varying = Symbol.for('kvent.tenant-dependent');
interface Marked {
  [varying]?: Set<string>;
}
type HeadArguments = [status: number, ...rest: unknown[]];

/**
 * Marks a response as one that depends on the tenant. The headers are set at once, so that whoever
 * fills in defaults finds them, and again when the head is sent, so that a handler that sets `Vary`
 * itself does not take ours away. A `Cache-Control` that was set is kept.
 */
export function dependOnTenant(response: unknown, tenancy: TenancyOptions): void {
  const raw = responseIn(response);
  if (raw === undefined || raw.headersSent) return;
  const { varies, cacheControl } = protectionOf(tenancy);
  const marked = raw as ServerResponse & Marked;
  const names = marked[varying];
  if (names === undefined) guardHead(marked, (marked[varying] = new Set(varies)), cacheControl);
  else for (const name of varies) names.add(name);
  apply(raw, marked[varying] as Set<string>, cacheControl);
}

/**
 * The same for what a guard or an interceptor sees; of GraphQL the response in its context.
 * Messages and sockets have none.
 */
export function dependOnTenantIn(context: ExecutionContext, tenancy: TenancyOptions): void {
  if (context.getType<string>() === 'http')
    return dependOnTenant(context.switchToHttp().getResponse(), tenancy);
  if (context.getType<string>() !== 'graphql') return;
  const inner = context.getArgByIndex<
    | { readonly res?: unknown; readonly reply?: unknown; readonly req?: { readonly res?: unknown } }
    | undefined
  >(2);
  dependOnTenant(inner?.res ?? inner?.reply ?? inner?.req?.res, tenancy);
}

/**
 * With `resolve` it is not known what of the request names the tenant: there is nothing to vary by.
 */
function protectionOf(tenancy: TenancyOptions): {
  readonly varies: readonly string[];
  readonly cacheControl: string;
} {
  if (tenancy.resolve !== undefined) return { varies: [], cacheControl: 'private' };
  return { varies: [tenantHeaderOf(tenancy)], cacheControl: 'private, no-cache' };
}

/** Node's response, of whatever framework; `undefined` for what is none. */
function responseIn(response: unknown): ServerResponse | undefined {
  if (typeof response !== 'object' || response === null) return undefined;
  const raw = rawOf(response as AnyResponse);
  return typeof raw.setHeader === 'function' && typeof raw.writeHead === 'function' ? raw : undefined;
}

function apply(raw: ServerResponse, names: ReadonlySet<string>, cacheControl: string): void {
  const vary = withNames(raw.getHeader('Vary'), names);
  if (vary !== undefined) raw.setHeader('Vary', vary);
  if (!raw.hasHeader('Cache-Control')) raw.setHeader('Cache-Control', cacheControl);
}

/**
 * Every head goes through `writeHead`, that of Fastify and of server-sent events with headers of
 * their own, which replace those that were set.
 */
function guardHead(raw: ServerResponse, names: ReadonlySet<string>, cacheControl: string): void {
  const writeHead = raw.writeHead.bind(raw) as (...args: HeadArguments) => ServerResponse;
  const guarded = (...args: HeadArguments): ServerResponse => {
    if (raw.headersSent) return writeHead(...args);
    apply(raw, names, cacheControl);
    const [status, ...rest] = args;
    const headers = rest.pop();
    return writeHead(status, ...rest, ...(headers === undefined ? [] : [withOurs(headers, names)]));
  };
  raw.writeHead = guarded;
}

/**
 * The headers that `writeHead` was given, as an object or as names and values in turn; of a reason
 * phrase, nothing changes.
 */
function withOurs(headers: unknown, names: ReadonlySet<string>): unknown {
  if (typeof headers !== 'object' || headers === null) return headers;
  if (Array.isArray(headers)) return listWithOurs(headers as readonly unknown[], names);
  return Object.fromEntries(
    Object.entries(headers as OutgoingHttpHeaders).map(([name, value]) => [
      name,
      isVary(name) ? (withNames(value, names) ?? value) : value,
    ]),
  );
}

function listWithOurs(headers: readonly unknown[], names: ReadonlySet<string>): readonly unknown[] {
  if (Array.isArray(headers[0]))
    return headers.map((pair) => {
      const [name, value] = pair as [string, OutgoingHttpHeader];
      return [name, isVary(name) ? (withNames(value, names) ?? value) : value];
    });
  return headers.map((value, index) =>
    index % 2 === 1 && isVary(headers[index - 1])
      ? (withNames(value as OutgoingHttpHeader, names) ?? value)
      : value,
  );
}

const isVary = (name: unknown): boolean => typeof name === 'string' && name.toLowerCase() === 'vary';

/**
 * `Vary` with these names beside those that are there; `*` stands for all. `undefined` where
 * nothing is missing.
 */
function withNames(vary: OutgoingHttpHeader | undefined, names: ReadonlySet<string>): string | undefined {
  const there = [vary ?? []]
    .flat()
    .flatMap((text) => String(text).split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const known = new Set(there.map((name) => name.toLowerCase()));
  const missing = [...names].filter((name) => !known.has(name.toLowerCase()));
  return known.has('*') || missing.length === 0 ? undefined : [...there, ...missing].join(', ');
}
