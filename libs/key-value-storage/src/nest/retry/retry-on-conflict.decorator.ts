import { resolveRetry, retryOnConflict, type RetryOptions } from '../../core/contention/retry-on-conflict.js';

// oxlint-disable-next-line typescript/no-explicit-any -- the parameters of any method
type AsyncMethod = (...args: any[]) => Promise<unknown>;

/**
 * Runs the method again after a conflict. The method must read inside it what it decides by. Of
 * nested loops only the innermost retries; its last conflict is thrown through the others. Throws
 * `INVALID_OPTION` for options that are not allowed.
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
    const retried = async function (this: unknown, ...args: unknown[]): Promise<unknown> {
      return await retryOnConflict(async () => await method.apply(this, args), options);
    };
    Object.defineProperty(retried, 'name', { value: String(name) });
    Object.defineProperty(retried, 'length', { value: method.length });
    // Nest stores routes, guards … on the function: they are kept in any order of the decorators
    for (const key of Reflect.getMetadataKeys(method) as unknown[])
      Reflect.defineMetadata(key, Reflect.getMetadata(key, method), retried);
    descriptor.value = retried as typeof descriptor.value & AsyncMethod;
  };
}
