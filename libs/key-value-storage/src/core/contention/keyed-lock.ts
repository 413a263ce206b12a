/**
 * Locks by name, within this process. A caller whose commit conflicted waits for the row's lock
 * instead of racing again, so that a hundred concurrent calls need about a hundred commits and not
 * thousands. The locks only make conflicts rare: versions decide what is right. If the queue makes
 * no progress for `stallTimeoutMs`, waiters continue without the lock: 1, then 2, then 4. So a slow
 * holder delays the others and never blocks them, and they do not all race at once.
 */
import type { Clock } from '../base/clock.js';
import { withAbort } from '../base/with-abort.js';

/** Ends a wait, with the lock or without it. */
type EndWait = (acquired: boolean) => void;

/** A lock that is held, and the calls that wait for it. */
interface Queue {
  readonly waiting: EndWait[];
  /** Counts up whenever a wait ends. */
  progress: number;
  /** How many waiters continue without the lock at the next stall. */
  stallRelease: number;
}

interface LockWait {
  /** Milliseconds without progress after which waiters continue without the lock. */
  readonly stallTimeoutMs: number;
  /** When a wait ends in any case, by the monotonic clock. */
  readonly deadline: number;
}

export class KeyedLock {
  /** Of the locks that are held; `undefined` where no call waits yet, as for most. */
  readonly #queues = new Map<string, Queue | undefined>();

  /** Acquires the lock if it is free; returns whether it was. */
  tryAcquire(name: string): boolean {
    if (this.#queues.has(name)) return false;
    this.#queues.set(name, undefined);
    return true;
  }

  /**
   * Waits for the lock. Returns whether it was acquired; `false` after a stall or at the deadline.
   * Rejects with the signal's reason.
   */
  async acquire(
    name: string,
    wait: LockWait,
    clock: Clock,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (this.tryAcquire(name)) return true;
    const queue = this.#queueOf(name);
    let acquired: boolean | undefined;
    let settle = (): void => undefined;
    const ended = new Promise<void>((resolve) => (settle = resolve));
    const end: EndWait = (result) => {
      acquired = result;
      settle();
    };
    queue.waiting.push(end);
    try {
      await withAbort(signal, async (own) => await waitInQueue(queue, ended, wait, clock, own));
    } catch (error) {
      if (acquired === true) this.release(name);
      throw error;
    } finally {
      if (acquired === undefined) queue.waiting.splice(queue.waiting.indexOf(end), 1);
    }
    return acquired === true;
  }

  /** Passes the lock to the first waiter. Only its holder may call this. */
  release(name: string): void {
    const queue = this.#queues.get(name);
    const next = queue?.waiting.shift();
    if (queue === undefined || next === undefined) {
      this.#queues.delete(name);
      return;
    }
    queue.progress += 1;
    queue.stallRelease = 1;
    next(true);
  }

  #queueOf(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) this.#queues.set(name, (queue = { waiting: [], progress: 0, stallRelease: 1 }));
    return queue;
  }
}

/** Until the wait is ended, or the deadline. */
async function waitInQueue(
  queue: Queue,
  ended: Promise<void>,
  { stallTimeoutMs, deadline }: LockWait,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (let isOver = false; !isOver && clock.monotonic() < deadline;) {
    const { progress } = queue;
    isOver = await Promise.race([
      ended.then(() => true),
      clock.wait(stallTimeoutMs, signal).then(() => false),
    ]);
    if (!isOver && queue.progress === progress) releaseStalled(queue);
  }
}

function releaseStalled(queue: Queue): void {
  for (const end of queue.waiting.splice(0, queue.stallRelease)) end(false);
  queue.progress += 1;
  queue.stallRelease *= 2;
}
