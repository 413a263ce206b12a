/**
 * Marks responses that depend on the tenant, so that a cache does not send them to another tenant:
 * `Vary` names the header of the tenant, and `Cache-Control` keeps the response out of shared
 * caches, whatever its status.
 */
import type { ExecutionContext } from '@nestjs/common';
import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { rawOf, type AnyResponse } from '../http/http-exchange.js';
import type { TenancyOptions } from '../options/key-value-storage-options.js';
import { tenantHeaderOf } from './tenant-resolution.js';

/**
 * The request headers that name the tenant of this response. A registered symbol, because another
 * copy of the package may have marked the response.
 */
const varying = Symbol.for('kvent.tenant-dependent');
interface MarkedResponse {
  [varying]?: Set<string>;
}
type HeadArguments = [status: number, ...rest: unknown[]];

/**
 * Marks a response as dependent on the tenant. The headers are set at once, so that code that adds
 * defaults finds them, and again when the headers are sent, so that a handler that sets `Vary` does
 * not remove them. An existing `Cache-Control` is kept.
 */
export function dependOnTenant(response: unknown, tenancy: TenancyOptions): void {
  const raw = responseIn(response);
  if (raw === undefined || raw.headersSent) return;
  const { varies, cacheControl } = protectionOf(tenancy);
  const marked = raw as ServerResponse & MarkedResponse;
  const names = marked[varying];
  if (names === undefined) guardHead(marked, (marked[varying] = new Set(varies)), cacheControl);
  else for (const name of varies) names.add(name);
  apply(raw, marked[varying] as Set<string>, cacheControl);
}

/**
 * The same for the context of a guard or an interceptor. GraphQL has the response in its own
 * context; messages and sockets have none.
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

/** No `Vary` with `resolve`, which may use any part of the request. */
function protectionOf(tenancy: TenancyOptions): {
  readonly varies: readonly string[];
  readonly cacheControl: string;
} {
  if (tenancy.resolve !== undefined) return { varies: [], cacheControl: 'private' };
  return { varies: [tenantHeaderOf(tenancy)], cacheControl: 'private, no-cache' };
}

/** The response of Node in that of a framework; `undefined` for anything else. */
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
 * All responses call `writeHead`. Fastify and server-sent events pass headers to it, which replace
 * those that were set before.
 */
function guardHead(raw: ServerResponse, names: ReadonlySet<string>, cacheControl: string): void {
  const writeHead = raw.writeHead.bind(raw) as (...args: HeadArguments) => ServerResponse;
  const guarded = (...args: HeadArguments): ServerResponse => {
    if (raw.headersSent) return writeHead(...args);
    apply(raw, names, cacheControl);
    const [status, ...rest] = args;
    const headers = rest.pop();
    return writeHead(status, ...rest, ...(headers === undefined ? [] : [withVaryingNames(headers, names)]));
  };
  raw.writeHead = guarded;
}

/**
 * The headers of a `writeHead` call (an object, pairs, or alternating names and values) with the
 * names added to `Vary`. A reason phrase is returned as it is.
 */
function withVaryingNames(headers: unknown, names: ReadonlySet<string>): unknown {
  if (typeof headers !== 'object' || headers === null) return headers;
  if (Array.isArray(headers)) return listWithVaryingNames(headers as readonly unknown[], names);
  return Object.fromEntries(
    Object.entries(headers as OutgoingHttpHeaders).map(([name, value]) => [
      name,
      isVary(name) ? (withNames(value, names) ?? value) : value,
    ]),
  );
}

function listWithVaryingNames(headers: readonly unknown[], names: ReadonlySet<string>): readonly unknown[] {
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
 * `Vary` with these names added; `*` includes all names. `undefined` when no name is missing.
 */
function withNames(vary: OutgoingHttpHeader | undefined, names: ReadonlySet<string>): string | undefined {
  const existing = [vary ?? []]
    .flat()
    .flatMap((text) => String(text).split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const known = new Set(existing.map((name) => name.toLowerCase()));
  const missing = [...names].filter((name) => !known.has(name.toLowerCase()));
  return known.has('*') || missing.length === 0 ? undefined : [...existing, ...missing].join(', ');
}
