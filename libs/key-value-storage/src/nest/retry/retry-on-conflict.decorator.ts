import { resolveRetry, retryOnConflict, type RetryOptions } from '../../core/contention/retry-on-conflict.js';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever the method takes
type AsyncMethod = (...given: any[]) => Promise<unknown>;

/**
 * Runs the method again, from its first line, when it lost against someone else; so it must read
 * what it decides by, inside. Of nested loops the innermost retries, and the conflict that remains
 * passes the outer ones. `INVALID_OPTION` at once for options that are not allowed.
 */
export function RetryOnConflict(
  options: RetryOptions = {},
): <M extends AsyncMethod>(
  target: object,
  name: string | symbol,
  method: TypedPropertyDescriptor<M>,
) => void {
  resolveRetry(options);
  return (_target, name, descriptor) => {
    const method = descriptor.value as AsyncMethod;
    const retried = async function (this: unknown, ...given: unknown[]): Promise<unknown> {
      return await retryOnConflict(async () => await method.apply(this, given), options);
    };
    Object.defineProperty(retried, 'name', { value: String(name) });
    Object.defineProperty(retried, 'length', { value: method.length });
    // Nest keeps routes, guards … on the function: they stay, whatever the order of the decorators
    for (const key of Reflect.getMetadataKeys(method) as unknown[])
      Reflect.defineMetadata(key, Reflect.getMetadata(key, method), retried);
    descriptor.value = retried as typeof descriptor.value & AsyncMethod;
  };
}
