/** The options that states and counters share. */
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import { isSchema } from '../base/kinds.js';
import { assertTtl, invalidOption } from '../base/options.js';
import type { Space } from '../port/storage-provider.js';
import type { KeySchema } from './key-schema.js';

interface DefinitionOptions {
  readonly ttlMs?: number | undefined;
  readonly scope?: 'tenant' | 'shared' | undefined;
  readonly container: string;
  readonly provider?: string | undefined;
  readonly key?: KeySchema | undefined;
}

/** What states and counters have in common. `entity` and `container` are encoded. */
export interface ResolvedDefinition {
  readonly name: string;
  readonly entity: string;
  readonly container: string;
  readonly keySchema: KeySchema | undefined;
  readonly ttlMs: number | undefined;
  readonly scope: 'tenant' | 'shared' | undefined;
  readonly provider: string | undefined;
}

/** `space` encodes the name; it is called once the name and the container are checked. */
export function resolveDefinition(
  where: string,
  kind: 'state' | 'counter',
  name: string,
  { ttlMs, scope, container, provider, key }: DefinitionOptions,
  space: (name: string) => Omit<Space, 'database'>,
): ResolvedDefinition {
  if (typeof name !== 'string' || name.trim() === '')
    throw invalidOption(`${where}: the name of a ${kind} must be a text that is not blank.`);
  if (key !== undefined && !isSchema(key))
    throw invalidOption(`${where}: key must be a Standard Schema; got ${inspect(key)}.`);
  if (ttlMs !== undefined) assertTtl(where, ttlMs);
  assertOneOf(where, 'scope', scope, ['tenant', 'shared', undefined]);
  if (typeof container !== 'string' || container === '')
    throw invalidOption(`${where}: container must be a text that is not empty.`);
  const resolved = { name, ...space(name), keySchema: key, ttlMs, scope, provider };
  assertWithin('entityBytesMax', resolved.entity, `${kind} name`);
  assertWithin('containerBytesMax', resolved.container, 'container');
  return resolved;
}

export function assertOneOf(
  where: string,
  option: string,
  given: unknown,
  allowed: readonly (string | undefined)[],
): void {
  if (!allowed.some((word) => word === given)) {
    const words = allowed.filter((word) => word !== undefined).map((word) => `'${word}'`);
    throw invalidOption(`${where}: ${option} must be ${words.join(' or ')}; got ${inspect(given)}.`);
  }
}
