/** The tenant of a request, for the middleware, the guard and the interceptor. */
import type { ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import type { KeyValueStorage } from '../../core/store/key-value-store.js';
import { invalidOption } from '../../core/base/options.js';
import { assertTenant } from '../../core/store/tenant.js';
import type { TenancyOptions } from '../options/key-value-storage-options.js';

const headerDefault = 'x-tenant-id';

/** The request header that names the tenant, if there is no `resolve`. */
export const tenantHeaderOf = ({ header }: TenancyOptions): string => header ?? headerDefault;

/** The tenancy of the root; `INVALID_OPTION` at the start-up if it has none. */
export function tenancyFor(who: string, tenancy: TenancyOptions | null): TenancyOptions {
  if (tenancy === null)
    throw invalidOption(
      `${who} needs KeyValueStorageModule.forRoot({ tenancy: { … } }); \`tenancy: {}\` takes the tenant from the header ${headerDefault}.`,
    );
  return tenancy;
}

/**
 * The tenant of a request. `TENANT_MISSING` without a well-formed name, `TENANT_UNKNOWN` if
 * `isKnown` returns false.
 */
export async function tenantOf(
  request: unknown,
  tenancy: TenancyOptions,
  storage: KeyValueStorage,
  context?: ExecutionContext,
): Promise<string> {
  const tenant =
    tenancy.resolve === undefined
      ? fromHeader(request, tenantHeaderOf(tenancy))
      : await tenancy.resolve(request, storage, context);
  assertTenant(tenant);
  if (tenancy.isKnown !== undefined && (await tenancy.isKnown(tenant, storage)) !== true) {
    throw storageError('TENANT_UNKNOWN', `There is no tenant ${JSON.stringify(tenant)}.`, { tenant });
  }
  return tenant;
}

interface Headed {
  readonly headers?: Readonly<Record<string, unknown>>;
  /**
   * Alternating names and values, as they were sent, of HTTP/1 and HTTP/2. (Only HTTP/1 has
   * `headersDistinct`.)
   */
  readonly rawHeaders?: readonly string[];
  readonly raw?: Headed;
  /** Of a socket of Socket.IO: its first request, and the headers of it. */
  readonly request?: Headed;
  readonly handshake?: Headed;
}

/**
 * A header that was sent twice is refused: one may be of the proxy, and the other of the client.
 */
function fromHeader(request: unknown, header: string): unknown {
  const { headers, rawHeaders, raw, request: first, handshake } = (request ?? {}) as Headed;
  const name = header.toLowerCase();
  const sent = (rawHeaders ?? raw?.rawHeaders ?? first?.rawHeaders ?? []).filter(
    (text, index) => index % 2 === 0 && text.toLowerCase() === name,
  );
  if (sent.length > 1)
    throw storageError(
      'TENANT_MISSING',
      `The header ${header} was sent ${sent.length} times; it must be sent once.`,
      {},
    );
  return (headers ?? handshake?.headers)?.[name];
}

/**
 * The argument of `resolve`: the request of HTTP, the client of a gateway, the context of a
 * microservice, the request in the context of GraphQL.
 */
export function requestOf(context: ExecutionContext): unknown {
  switch (context.getType<string>()) {
    case 'ws':
      return context.switchToWs().getClient();
    case 'rpc':
      return context.switchToRpc().getContext();
    case 'graphql': {
      const inner = context.getArgByIndex<{ readonly req?: unknown; readonly request?: unknown } | undefined>(
        2,
      );
      return inner?.req ?? inner?.request ?? inner;
    }
    default:
      return context.switchToHttp().getRequest();
  }
}
