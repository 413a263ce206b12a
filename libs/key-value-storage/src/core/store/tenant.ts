/**
 * Databases: one for each tenant, and one for shared rows. A database is the unit of atomicity,
 * isolation, backup and deletion.
 */
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import { limits } from '../base/limits.js';
import { utf8Length } from '../base/utf8-length.js';
import { decodeText, encodeText } from '../encoding/text-encoding.js';

export const sharedDatabase = 'shared';
const tenantPrefix = 'tenant:';

/**
 * The database of a tenant. A tenant's name is a text without control characters and without blanks
 * around it; anything else, and a name that is too long, is `TENANT_MISSING`.
 */
export function databaseOf(tenant: unknown): string {
  if (tenant === undefined || tenant === null || tenant === '')
    throw tenantMissing('There is no current tenant.');
  if (typeof tenant !== 'string' || tenant.trim() !== tenant || /[\u0000-\u001f\u007f]/.test(tenant))
    throw tenantMissing(
      `A tenant's name must be a text without control characters or blanks around it; got ${inspect(tenant)}.`,
    );
  const database = `${tenantPrefix}${encodeText(tenant)}`;
  const allowed = limits.databaseBytesMax;
  if (database.length * 3 > allowed && utf8Length(database) > allowed)
    throw tenantMissing(
      `A tenant's name is too long: its database has ${utf8Length(database)} encoded bytes; at most ${allowed} are allowed.`,
    );
  return database;
}

/** `TENANT_MISSING` for an invalid name. */
export function assertTenant(tenant: unknown): asserts tenant is string {
  databaseOf(tenant);
}

/** The tenant of a database; `undefined` for the shared one. */
export const tenantIn = (database: string): string | undefined =>
  database.startsWith(tenantPrefix) ? decodeText(database.slice(tenantPrefix.length)) : undefined;

const tenantMissing = (message: string) => storageError('TENANT_MISSING', message, {});
