/**
 * Keeps the notifications of each stream in the order of its versions. The answers of two appends
 * may come in another order than their commits. So the notification of an append waits while
 * another one of this process that was sent at a lower version has no result.
 */

interface SentAppend {
  /** The version of the stream before the append. */
  readonly before: number;
}
interface Notification extends SentAppend {
  readonly notify: () => void;
}
interface StreamOrder {
  readonly inFlight: Set<SentAppend>;
  readonly waiting: Notification[];
}

export class NotificationOrder {
  /** Those with an append in flight. */
  readonly #streams = new Map<string, StreamOrder>();

  /**
   * An append is sent. Returns what must be called once its result is known, after its `notify`.
   */
  begin(stream: string, before: number): () => void {
    const order = this.#streams.get(stream) ?? { inFlight: new Set(), waiting: [] };
    this.#streams.set(stream, order);
    const append: SentAppend = { before };
    order.inFlight.add(append);
    return () => {
      order.inFlight.delete(append);
      notifyDue(order);
      // what waits, waits for an append in flight
      if (order.inFlight.size === 0) this.#streams.delete(stream);
    };
  }

  /** Calls `notify`, which must not throw: now, or in the call that ends the wait. */
  notify(stream: string, before: number, notify: () => void): void {
    const order = this.#streams.get(stream);
    if (order === undefined) return notify();
    order.waiting.push({ before, notify });
    notifyDue(order);
  }
}

function notifyDue({ inFlight, waiting }: StreamOrder): void {
  if (waiting.length === 0) return;
  // of several appends at one version, one is committed
  const lowest = Math.min(...Array.from(inFlight, ({ before }) => before));
  waiting.sort((a, b) => a.before - b.before);
  const later = waiting.findIndex(({ before }) => before > lowest);
  const due = waiting.splice(0, later < 0 ? waiting.length : later);
  for (const { notify } of due) notify();
}
