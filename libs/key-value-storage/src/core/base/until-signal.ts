/** An iterable that ends with a signal, also while its source does not yield. */
import { untilAborted } from './abort.js';

/** The items of a source; `ABORTED`, without effect, once the signal aborts. */
export async function* untilSignal<Item>(
  what: string,
  source: AsyncIterable<Item> | Iterable<Item>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item, void, undefined> {
  if (signal === undefined) {
    yield* source;
    return;
  }
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let isDone = false;
  try {
    for (;;) {
      const next = await untilAborted(what, 'none', signal, Promise.resolve(iterator.next()));
      isDone = next.done === true;
      if (isDone) return;
      yield next.value as Item;
    }
  } finally {
    const returned = isDone ? undefined : Promise.resolve(iterator.return?.());
    // a source that hangs would delay the end
    if (signal.aborted) returned?.catch(() => undefined);
    else await returned;
  }
}
