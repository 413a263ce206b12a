/**
 * Databases: one for each tenant, and one for what is shared. A database is the unit of atomicity,
 * isolation, backup and deletion.
 */
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import { limits } from '../base/limits.js';
import { decodeText, encodeText } from '../encoding/text-encoding.js';
import { utf8Length } from '../base/utf8-length.js';

export const sharedDatabase = 'shared';

/**
 * A tenant's name: a text without control characters, and without blanks around it;
 * `TENANT_MISSING` for anything else, and for one that is too long.
 */
export function assertTenant(tenant: unknown): asserts tenant is string {
  if (tenant === undefined || tenant === null || tenant === '')
    throw tenantMissing('A tenant is needed here, and there is none');

  if (typeof tenant !== 'string' || tenant.trim() !== tenant || /[\u0000-\u001f\u007f]/.test(tenant)) {
    throw tenantMissing(
      `A tenant's name is a text without control characters or blanks around it; given was ${inspect(tenant)}`,
    );
  }
  const bytes = utf8Length(databaseName(tenant));
  if (bytes > limits.databaseBytesMax) {
    throw tenantMissing(
      `A tenant's name is too long: its database takes ${bytes} encoded bytes, ${limits.databaseBytesMax} are allowed`,
    );
  }
}

/** The database of a tenant. */
export function databaseOf(tenant: unknown): string {
  assertTenant(tenant);
  return databaseName(tenant);
}

/** The tenant of a database; `undefined` for what is shared. */
export const tenantIn = (database: string): string | undefined =>
  database.startsWith(tenantPrefix) ? decodeText(database.slice(tenantPrefix.length)) : undefined;

const tenantPrefix = 'tenant:';

const databaseName = (tenant: string): string => `${tenantPrefix}${encodeText(tenant)}`;

const tenantMissing = (message: string) => storageError('TENANT_MISSING', `${message}.`, {});
