/**
 * Counts the async frames of a lone call: the promises that the call has made and that are pending
 * when it reaches the innermost call (the driver's query, the write to the file, the table in
 * memory). Each async function on the way is one, and so is each promise made by hand; what `await`
 * and `then` derive from them is not counted. Each pending promise is one more turn of the
 * microtask queue on the way back.
 */
import { promiseHooks } from 'node:v8';

/** A method of an object that is called innermost. */
export interface Innermost {
  readonly of: object;
  readonly method: string;
}

/**
 * The greatest number over the innermost calls that the work makes. Nothing else may run beside it.
 */
export async function countAsyncFrames(
  innermost: readonly Innermost[],
  work: () => Promise<unknown>,
): Promise<number> {
  const pending = new Set<Promise<unknown>>();
  let frames: number | undefined;
  const restore = innermost.map(({ of, method }) =>
    spyOn(of, method, () => {
      frames = Math.max(frames ?? 0, pending.size);
    }),
  );
  const stop = promiseHooks.createHook({
    init: (promise, parent) => {
      if ((parent as unknown) === undefined) pending.add(promise);
    },
    settled: (promise) => pending.delete(promise),
  }) as () => void;
  try {
    await work();
  } finally {
    stop();
    for (const end of restore) end();
  }
  if (frames === undefined) throw new Error('The work made no innermost call.');
  return frames;
}

function spyOn(of: object, method: string, before: () => void): () => void {
  const target = of as Record<string, (...given: unknown[]) => unknown>;
  const [original, isOwn] = [target[method], Object.hasOwn(of, method)];
  if (original === undefined) throw new Error(`There is no method ${method}.`);
  target[method] = function (this: unknown, ...given: unknown[]): unknown {
    before();
    return original.apply(this, given);
  };
  return () => {
    if (isOwn) target[method] = original;
    else Reflect.deleteProperty(target, method);
  };
}
