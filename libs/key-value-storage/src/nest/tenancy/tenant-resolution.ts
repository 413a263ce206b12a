/**
 * From a request to its tenant, whatever carried it: the one way for middleware and interceptor.
 */
import type { ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import type { KeyValueStorage } from '../../core/store/key-value-store.js';
import { invalidOption } from '../../core/base/options.js';
import { assertTenant } from '../../core/store/tenant.js';
import type { TenancyOptions } from '../options/key-value-storage-options.js';

const headerDefault = 'x-tenant-id';

/** The request header that names the tenant, where there is no `resolve`. */
export const tenantHeaderOf = ({ header }: TenancyOptions): string => header ?? headerDefault;

/** The tenancy of the root; `INVALID_OPTION` where there is none, at start-up. */
export function tenancyFor(who: string, tenancy: TenancyOptions | null): TenancyOptions {
  if (tenancy === null)
    throw invalidOption(
      `${who} needs KeyValueStorageModule.forRoot({ tenancy: { … } }); \`tenancy: {}\` takes the tenant from the header ${headerDefault}.`,
    );
  return tenancy;
}

/**
 * The tenant that a request names: `TENANT_MISSING` without a well-formed one, `TENANT_UNKNOWN` for
 * one that `isKnown` does not know.
 */
export async function tenantOf(
  request: unknown,
  tenancy: TenancyOptions,
  storage: KeyValueStorage,
): Promise<string> {
  const tenant =
    tenancy.resolve === undefined
      ? fromHeader(request, tenantHeaderOf(tenancy))
      : await tenancy.resolve(request, storage);
  assertTenant(tenant);
  if (tenancy.isKnown !== undefined && (await tenancy.isKnown(tenant, storage)) !== true) {
    throw storageError('TENANT_UNKNOWN', `There is no tenant ${JSON.stringify(tenant)}.`, { tenant });
  }
  return tenant;
}

interface Headed {
  readonly headers?: Readonly<Record<string, unknown>>;
  /**
   * Names and values in turn, as they were sent: of HTTP/1 and HTTP/2. (Only HTTP/1 has
   * `headersDistinct`.)
   */
  readonly rawHeaders?: readonly string[];
  readonly raw?: Headed;
  /** Of a socket. */
  readonly handshake?: Headed;
}

/** Sent twice is no tenant at all: one of them may be the proxy's, the other one the client's. */
function fromHeader(request: unknown, header: string): unknown {
  const { headers, rawHeaders, raw, handshake } = (request ?? {}) as Headed;
  const name = header.toLowerCase();
  const sent = (rawHeaders ?? raw?.rawHeaders ?? []).filter(
    (text, index) => index % 2 === 0 && text.toLowerCase() === name,
  );
  if (sent.length > 1)
    throw storageError(
      'TENANT_MISSING',
      `The header ${header} was sent ${sent.length} times; expected was one tenant.`,
      {},
    );
  return (headers ?? handshake?.headers)?.[name];
}

/**
 * What stands for the request: of HTTP the request, of a gateway its client, of a microservice its
 * context, of GraphQL the request in its context.
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
