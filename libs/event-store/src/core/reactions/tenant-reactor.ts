/**
 * Handles events of one tenant and one partition: several streams at the same time, and the events
 * of a stream one after another. Behind each success the checkpoint is stored, before the next
 * event of the stream begins; the successes during a write share the next one.
 */
import { isConflict } from '@kvent/key-value-storage/core';
import { throwIfAborted, type FeedEntry, type FeedPosition } from '@kvent/key-value-storage/provider';
import { SerialQueue, type Semaphore } from '@kvent/key-value-storage/internal';
import { FeedReader } from '../feed/read-feed.js';
import type { PartitionHold } from '../projections/subscription-runner.js';
import { conflictsMax, TenantWriter, type WriterContext } from '../projections/tenant-writer.js';
import type { ResolvedReaction } from './reaction-definition.js';
import { ReactionQueue, taskOf, type ReactionTask } from './reaction-queue.js';

interface ReactorContext extends WriterContext {
  readonly reaction: ResolvedReaction;
  /** Of the partition. */
  readonly slots: Semaphore;
  readonly hold: PartitionHold | undefined;
}

export class TenantReactor extends TenantWriter {
  readonly #context: ReactorContext;
  readonly #adding = new SerialQueue();
  readonly #storing = new SerialQueue();
  readonly #nextStore = new WeakMap<ReactionQueue, Promise<void>>();
  /** Handled here, where the checkpoint could not be stored: their handlers do not run again. */
  readonly #handled = new Set<FeedPosition>();
  #queue = new ReactionQueue();

  constructor(context: ReactorContext, database: string, partition: number) {
    super(context, database, partition);
    this.#context = context;
  }

  /** After a failure, events are taken again after this, from the checkpoint on. */
  override forget(): void {
    super.forget();
    this.#queue = new ReactionQueue();
  }

  /**
   * May be called for the next entries before these are handled; they are queued in their order.
   */
  override async apply(entries: readonly FeedEntry[]): Promise<void> {
    throwIfAborted('A reaction', this.#context.signal);
    const end = entries.at(-1)?.position;
    if (end === undefined) return;
    const queue = this.#queue;
    await this.#adding.run(async () => queue.add(await this.#tasksOf(entries)));
    await this.#store(queue);
    await queue.whenStored(end);
  }

  /** Those with a handler that are behind the checkpoint. */
  async #tasksOf(entries: readonly FeedEntry[]): Promise<readonly ReactionTask[]> {
    const { reaction, source } = this.#context;
    const { position, done } = await this.checkpoint.read();
    const reader = new FeedReader(source);
    const tasks: ReactionTask[] = [];
    for (const entry of entries) {
      const own = entry.position;
      if ((position !== undefined && own <= position) || done.has(own)) continue;
      try {
        const item = await reader.item(entry);
        if (item?.kind === 'event' && reaction.handlerOf(item.streamType, item.type) !== undefined)
          tasks.push(taskOf(entry, item, undefined, this.#handled.has(own)));
      } catch (error) {
        tasks.push(taskOf(entry, undefined, error, false));
      }
    }
    return tasks;
  }

  /** As many workers as may find an event. */
  #spawn(queue: ReactionQueue): void {
    const free = this.#context.reaction.concurrency - queue.workers;
    for (let left = Math.min(free, queue.waiting); left > 0; left -= 1) void this.#work(queue);
  }

  async #work(queue: ReactionQueue): Promise<void> {
    queue.workers += 1;
    const { slots } = this.#context;
    for (let hasWorked = true; hasWorked;)
      hasWorked = await slots.run(async () => await this.#handleNext(queue));
  }

  /** Returns whether there was an event; where there was none, the worker ends. Never rejects. */
  async #handleNext(queue: ReactionQueue): Promise<boolean> {
    const { signal, hold } = this.#context;
    try {
      await hold?.assert();
      throwIfAborted('A reaction', signal);
    } catch (error) {
      queue.interrupt(error);
    }
    const task = queue.take();
    if (task === undefined) {
      // with the look at the queue: what is added from now on needs another worker
      queue.workers -= 1;
      return false;
    }
    try {
      await this.#handle(task);
      this.#handled.add(task.entry.position);
      task.state = 'handled';
      await this.#store(queue);
    } catch (error) {
      // what ended with the process is handled again by the next one
      if (task.state === 'handled' || signal.aborted) queue.interrupt(error);
      else queue.fail(task, error);
    }
    queue.release();
    return true;
  }

  async #handle({ event, error }: ReactionTask): Promise<void> {
    if (event === undefined) throw error;
    await this.#context.effects(this.checkpoint.tenant).apply(event);
  }

  async #store(queue: ReactionQueue): Promise<void> {
    let next = this.#nextStore.get(queue);
    if (next === undefined) {
      next = this.#storing.run(async () => {
        this.#nextStore.delete(queue);
        await this.#storeNow(queue);
      });
      this.#nextStore.set(queue, next);
    }
    await next;
  }

  async #storeNow(queue: ReactionQueue): Promise<void> {
    for (let conflicts = 1; ; conflicts += 1) {
      const known = await this.checkpoint.read();
      queue.observe(known);
      const progress = queue.progress(known);
      if (progress === undefined) break;
      const { position, done, handled } = progress;
      const next = { ...known, position, done };
      try {
        await this.checkpoint.commit(this.checkpoint.batch(next, position, known.parked.size), next);
      } catch (error) {
        this.checkpoint.forget();
        if (!isConflict(error) || conflicts >= conflictsMax) throw error;
        this.#context.hold?.doubt();
        continue;
      }
      for (const { entry } of handled) this.#handled.delete(entry.position);
      queue.observe(next);
      break;
    }
    this.#spawn(queue);
  }
}
