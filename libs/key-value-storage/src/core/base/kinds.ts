/**
 * The kind of a value, by its internal slots and not by `instanceof`, because each realm has
 * classes of its own. Jest runs tests in a realm of their own: there a date of `fs.stat`, or a map
 * of `structuredClone`, is no instance of the test's classes.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';

/** Whether a method of a built-in class accepts the value: it throws on any other kind. */
function takes(method: (this: never) => unknown, value: object): boolean {
  try {
    method.call(value as never);
    return true;
  } catch {
    return false;
  }
}

const getterOf = (prototype: object, name: PropertyKey): ((this: never) => unknown) =>
  Object.getOwnPropertyDescriptor(prototype, name)?.get as (this: never) => unknown;

const timeOf = Date.prototype.getTime as (this: never) => unknown;
const sizeOfMap = getterOf(Map.prototype, 'size');
const sizeOfSet = getterOf(Set.prototype, 'size');
/** Of any typed array its class, of anything else undefined. */
const typedArrayName = getterOf(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Symbol.toStringTag,
) as (this: unknown) => string | undefined;

/** The kinds whose content is not in properties. `bytes`: a Uint8Array, or a subclass of it. */
export function builtInKind(value: object): 'date' | 'map' | 'set' | 'bytes' | undefined {
  // maps, sets and bytes have a tag; without one, `toString` reports a date reliably
  if (!(Symbol.toStringTag in value))
    return Object.prototype.toString.call(value) === '[object Date]' ? 'date' : undefined;
  const typedArray = typedArrayName.call(value);
  if (typedArray !== undefined) return typedArray === 'Uint8Array' ? 'bytes' : undefined;
  if (takes(sizeOfMap, value)) return 'map';
  if (takes(sizeOfSet, value)) return 'set';
  return takes(timeOf, value) ? 'date' : undefined;
}

export const isDate = (value: unknown): value is Date =>
  typeof value === 'object' && value !== null && builtInKind(value) === 'date';

export const isBytes = (value: unknown): value is Uint8Array =>
  typeof value === 'object' && value !== null && typedArrayName.call(value) === 'Uint8Array';

/** Whether it can be awaited: a promise of any realm or library; those of proxies are functions. */
export const isPromise = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
  typeof (value as { readonly then?: unknown }).then === 'function';

/** Whether it is a Standard Schema; schemas of ArkType are functions. */
export const isSchema = (value: unknown): value is StandardSchemaV1 =>
  ((typeof value === 'object' && value !== null) || typeof value === 'function') && '~standard' in value;

/** The root of all objects, of any realm. */
export const isObjectPrototype = (parent: object): boolean =>
  Object.getPrototypeOf(parent) === null && Object.hasOwn(parent, 'hasOwnProperty');

/** Whether it is an instance of a built-in class itself, of any realm, and of no subclass. */
export function isBare(value: object): boolean {
  // a Uint8Array has one more prototype, that of all typed arrays
  let steps = typedArrayName.call(value) === undefined ? 2 : 3;
  let above: object | null = value;
  for (; steps > 0 && above !== null; steps -= 1) above = Object.getPrototypeOf(above) as object | null;
  return above !== null && isObjectPrototype(above);
}

/** Whether it is an error, of any realm. */
export const isError = (value: unknown): value is Error =>
  value instanceof Error ||
  (typeof value === 'object' && value !== null && Object.prototype.toString.call(value) === '[object Error]');

/** The message of an error, or the text of any other value that was thrown. */
export function messageOf(error: unknown): string {
  return isError(error) && error.message !== '' ? error.message : String(error);
}

/**
 * The name of an error, of anything else its type: a message, and another value that was thrown,
 * may hold data.
 */
export const thrownName = (thrown: unknown): string =>
  isError(thrown) && typeof thrown.name === 'string' ? thrown.name : typeof thrown;
