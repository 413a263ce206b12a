/**
 * What kind a value is, told by what it holds inside and not by `instanceof`: a class of another
 * realm is another class. Jest runs tests in a realm of their own, so there a date of `fs.stat`, or
 * a map of `structuredClone`, is no `instanceof` of the test's classes.
 */

/**
 * Whether a method of a built-in class takes the value: it throws on what does not hold what it
 * reads.
 */
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

/**
 * The kinds that hold their content elsewhere than in properties, of this realm or of another.
 * `bytes`: a Uint8Array, or a class made from it.
 */
export function builtInKind(value: object): 'date' | 'map' | 'set' | 'bytes' | undefined {
  // maps, sets and bytes have a tag by their class; a date has none, and is then told by `toString`
  // without a doubt
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

/**
 * Whether it is to be waited for: a promise of any realm, and of any library that replaces the
 * global one.
 */
export const isPromise = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as { readonly then?: unknown }).then === 'function';

/** The root of all objects, of any realm. */
export const isObjectPrototype = (parent: object): boolean =>
  Object.getPrototypeOf(parent) === null && Object.hasOwn(parent, 'hasOwnProperty');

/**
 * Whether an array, date, map, set or Uint8Array is of the built-in class itself, of any realm, and
 * of none made from it.
 */
export function isBare(value: object): boolean {
  // between a Uint8Array's class and the root stands the class of all typed arrays
  let steps = typedArrayName.call(value) === undefined ? 2 : 3;
  let above: object | null = value;
  for (; steps > 0 && above !== null; steps -= 1) above = Object.getPrototypeOf(above) as object | null;
  return above !== null && isObjectPrototype(above);
}

/**
 * Whether it is an error, of any realm: Node's own errors are of another realm than a Jest test.
 */
export const isError = (value: unknown): value is Error =>
  value instanceof Error ||
  (typeof value === 'object' && value !== null && Object.prototype.toString.call(value) === '[object Error]');

/** What an error says, or the text of whatever else was thrown. */
export function messageOf(error: unknown): string {
  return isError(error) && error.message !== '' ? error.message : String(error);
}
