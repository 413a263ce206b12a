/** The idempotency record of a call on one row: scoped to the row and the key of the caller. */
import { assertWithin } from '../base/assert-limits.js';
import {
  defaultIdempotencyRetentionMs,
  idempotencyOf,
  IdempotencyRecord,
  idempotencyRecordKey,
  type IdempotentCall,
  type JsonContent,
} from '../commit/idempotency-record.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { Address } from '../port/storage-provider.js';

interface KeyedCall {
  readonly access: StorageAccess;
  readonly address: Address;
  /** Compared too: the result of one verb is no result of another. */
  readonly verb: string;
  readonly given: string | IdempotentCall;
  /** The arguments of the caller; undefined where they are not compared. */
  readonly intent: JsonContent | undefined;
  /** What a repeat returns; called when the batch is sent. */
  readonly result: () => unknown;
}

/** Errors as of the option `idempotencyKey`. */
export function recordOf({ access, address, verb, given, intent, result }: KeyedCall): IdempotencyRecord {
  const { key, content } = idempotencyOf(given) as NonNullable<ReturnType<typeof idempotencyOf>>;
  return new IdempotencyRecord({
    access,
    address: recordAddress(address, key),
    idempotency: { key, content: [verb, content ?? null] },
    json: typeof given === 'string' ? contentOf(verb, intent) : undefined,
    retentionMs: defaultIdempotencyRetentionMs,
    result,
  });
}

const contentOf = (verb: string, intent: JsonContent = 'null'): JsonContent =>
  typeof intent === 'string' ? `["${verb}",${intent}]` : { value: [verb, intent.value] };

/**
 * An encoded key of parts, so that records can be copied and restored. `zt`, `zf`: the parts of a
 * row key, and a text that looks like them, stay different.
 */
function recordAddress(
  { database, container, entity, key: rowKey }: Address,
  idempotencyKey: string,
): Address {
  const row = rowKey.startsWith('!') ? `!zt${rowKey}` : `!zf!t${rowKey}`;
  const key = `!t${idempotencyRecordKey(idempotencyKey)}${row}`;
  assertWithin('recordKeyBytesMax', key, 'key with its idempotency key');
  return { database, container: `mark:${container}`, entity, key };
}
