/** An iterable that ends with a signal, also while its source does not yield. */
import { aborted, throwIfAborted } from './abort.js';
import { onAbort } from './on-abort.js';

/**
 * The items of a source; `ABORTED`, without effect, once the signal aborts. `failed` ends the wait
 * for an item too: it is for a consumer that has an error of its own.
 */
export async function* untilSignal<Item>(
  what: string,
  source: AsyncIterable<Item> | Iterable<Item>,
  signal: AbortSignal | undefined,
  failed?: AbortSignal,
): AsyncGenerator<Item, void, undefined> {
  const signals = [signal, failed].filter((each) => each !== undefined);
  if (signals.length === 0) {
    yield* source;
    return;
  }
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let endRead: (error: unknown) => void = () => undefined;
  // once for all items: a listener for each item would take longer than the rest of its read
  const leave = signals.map((each) => onAbort(each, () => endRead(aborted(what, 'none', each))));
  let isReading = false;
  let isDone = false;
  try {
    for (;;) {
      for (const each of signals) throwIfAborted(what, each);
      isReading = true;
      const next = await new Promise<IteratorResult<Item, unknown>>((resolve, reject) => {
        endRead = reject;
        Promise.resolve(iterator.next()).then(resolve, reject);
      });
      isReading = false;
      isDone = next.done === true;
      if (isDone) return;
      yield next.value as Item;
    }
  } finally {
    for (const each of leave) each();
    const returned = isDone ? undefined : Promise.resolve(iterator.return?.());
    // a source that hangs would delay the end
    if (isReading || signal?.aborted === true) returned?.catch(() => undefined);
    else await returned;
  }
}
