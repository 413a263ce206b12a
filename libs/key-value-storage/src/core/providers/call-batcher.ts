/**
 * The queue of `CoalescingProvider`: calls wait, are picked into groups, are sent together, and are
 * answered one by one.
 */
import { aborted, throwIfAborted } from '../base/abort.js';
import { isStorageError, storageError } from '../base/errors.js';
import { onAbort } from '../base/on-abort.js';

/** Groups in flight at most; of calls that are sent alone, as many calls. */
const groupsMax = 4;
const aloneMax = 32;
/**
 * While nothing is in flight, twice as many calls or more are sent in two halves, so that the
 * engine and the callers work at the same time.
 */
const halfMin = 32;

export interface Call<Input, Output> {
  readonly input: Input;
  /** Calls are numbered in the order of their arrival. */
  readonly number: number;
  /** What it waits for in the engine; everything else that it needs is free for other calls. */
  blockedBy?: string;
  readonly resolve: (output: Output) => void;
  readonly reject: (error: unknown) => void;
}

interface CallBatcherOptions<Input, Output> {
  /**
   * Calls whose answers are large: each is sent alone, so that no answer waits for another, and is
   * kept for as long. @default false
   */
  readonly alone?: boolean;
  /** In messages: 'A commit'. */
  readonly what: string;
  /** The effect of a call that is aborted in flight. */
  readonly effect: 'none' | 'unknown';
  /** Waiting calls are taken from each database in turn, so that no tenant delays another. */
  readonly database: (input: Input) => string;
  /** The calls of the next group, in order; none while calls in flight must end first. */
  readonly pick: (
    waiting: readonly Call<Input, Output>[],
    inFlight: ReadonlySet<Call<Input, Output>>,
    groupsFree: number,
  ) => readonly Call<Input, Output>[];
  /**
   * Returns the outputs in the order of the inputs; single ones may be reported before. Rejects
   * only when no call can have taken effect, or with `effect: 'unknown'`.
   */
  readonly send: (inputs: readonly Input[], progress: Progress<Output>) => Promise<readonly Output[]>;
  /** What the outputs decide about calls that were waiting when the group was sent. */
  readonly predict?: (answered: readonly Answered<Input, Output>[]) => (waiting: Input) => Output | undefined;
}

/** Reports on single calls while their group is in flight. */
interface Progress<Output> {
  readonly answered: (index: number, output: Output) => void;
  readonly waiting: (index: number, blockedBy: string) => void;
}

export interface Answered<Input, Output> {
  readonly input: Input;
  readonly output: Output;
  readonly blockedBy: string | undefined;
}

export class CallBatcher<Input, Output> {
  readonly #options: CallBatcherOptions<Input, Output>;
  #waiting: Call<Input, Output>[] = [];
  readonly #inFlight = new Set<Call<Input, Output>>();
  #groups = 0;
  #calls = 0;
  #scheduled = false;
  /** Of calls that are sent alone: the number of the last turn of each database that waits. */
  readonly #lastTurn = new Map<string, number>();
  #turns = 0;
  readonly #idle: (() => void)[] = [];

  constructor(options: CallBatcherOptions<Input, Output>) {
    this.#options = options;
  }

  /** Not async: a frame less. */
  call(input: Input, signal: AbortSignal | undefined): Promise<Output> {
    const { what, effect } = this.#options;
    return new Promise<Output>((resolve, reject) => {
      throwIfAborted(what, signal);
      if (signal === undefined) {
        this.#waiting.push({ input, number: (this.#calls += 1), resolve, reject });
        this.#scheduleFlush();
        return;
      }
      const call: Call<Input, Output> = {
        input,
        number: (this.#calls += 1),
        resolve: (output) => {
          leave();
          resolve(output);
        },
        reject: (error) => {
          leave();
          // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the engine's own error
          reject(error);
        },
      };
      const leave = onAbort(signal, () => {
        const queued = this.#waiting.includes(call);
        if (queued) this.#waiting = this.#waiting.filter((other) => other !== call);
        call.reject(aborted(what, queued ? 'none' : effect, signal));
        this.#scheduleFlush();
      });
      this.#waiting.push(call);
      this.#scheduleFlush();
    });
  }

  get #groupsMax(): number {
    return this.#options.alone === true ? aloneMax : groupsMax;
  }

  /** Resolves once no call waits and none is in flight. */
  async idle(): Promise<void> {
    if (this.#waiting.length === 0 && this.#inFlight.size === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Whether such a call waits or is in flight. */
  has(matches: (input: Input) => boolean): boolean {
    for (const { input } of this.#inFlight) if (matches(input)) return true;
    return this.#waiting.some(({ input }) => matches(input));
  }

  #scheduleFlush(): void {
    if (this.#scheduled || this.#groups >= this.#groupsMax) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#groups < this.#groupsMax) {
      const picked = this.#options.pick(this.#inTurns(), this.#inFlight, this.#groupsMax - this.#groups);
      const group =
        this.#groups > 0 || picked.length < 2 * halfMin
          ? picked
          : picked.slice(0, Math.ceil(picked.length / 2));
      if (group.length === 0) break;
      const sent = new Set(group);
      this.#waiting = this.#waiting.filter((call) => !sent.has(call));
      if (this.#options.alone !== true) void this.#dispatch(group);
      else
        for (const call of group) {
          this.#lastTurn.set(this.#options.database(call.input), (this.#turns += 1));
          void this.#dispatch([call]);
        }
    }
    if (this.#waiting.length === 0 && this.#inFlight.size === 0)
      for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** The waiting calls: the first of each database before the second of any. */
  #inTurns(): readonly Call<Input, Output>[] {
    const { database } = this.#options;
    const queues = new Map<string, Call<Input, Output>[]>();
    for (const call of this.#waiting) {
      const name = database(call.input);
      const queue = queues.get(name);
      if (queue === undefined) queues.set(name, [call]);
      else queue.push(call);
    }
    if (queues.size < 2) return this.#waiting;
    if (this.#options.alone === true) return this.#leastRecentFirst(queues);
    const inTurns: Call<Input, Output>[] = [];
    for (let turn = 0; queues.size > 0; turn += 1) {
      for (const [name, queue] of queues) {
        inTurns.push(queue[turn] as Call<Input, Output>);
        if (turn + 1 === queue.length) queues.delete(name);
      }
    }
    return inTurns;
  }

  /**
   * Of calls that are sent alone: often one ends and one is sent, so each flush goes on with the
   * database whose turn is the longest ago.
   */
  #leastRecentFirst(
    queues: ReadonlyMap<string, readonly Call<Input, Output>[]>,
  ): readonly Call<Input, Output>[] {
    for (const name of this.#lastTurn.keys()) if (!queues.has(name)) this.#lastTurn.delete(name);
    const turnOf = (name: string): number => this.#lastTurn.get(name) ?? 0;
    return [...queues]
      .toSorted(([one], [other]) => turnOf(one) - turnOf(other))
      .map(([, [first]]) => first as Call<Input, Output>);
  }

  async #dispatch(group: readonly Call<Input, Output>[]): Promise<void> {
    this.#groups += 1;
    const lastWaiting = this.#calls;
    for (const call of group) this.#inFlight.add(call);
    let whole = true;
    /** A group whose calls end one by one may take long: it does not count against `groupsMax`. */
    const split = (): void => {
      if (whole) this.#groups -= 1;
      whole = false;
    };
    const answered = await this.#send(group, lastWaiting, (done) => {
      split();
      if (done !== undefined) this.#inFlight.delete(done);
      this.#flush();
    });
    split();
    for (const call of group) this.#inFlight.delete(call);
    this.#answerPredicted(answered, lastWaiting);
    this.#flush();
  }

  /** Answers waiting calls that the outputs decide; `lastWaiting`: the last number that waited. */
  #answerPredicted(answered: readonly Answered<Input, Output>[], lastWaiting: number): void {
    const { predict } = this.#options;
    if (predict === undefined || answered.length === 0 || this.#waiting.length === 0) return;
    const predicted = predict(answered);
    this.#waiting = this.#waiting.filter((call) => {
      const output = call.number > lastWaiting ? undefined : predicted(call.input);
      if (output !== undefined) call.resolve(output);
      return output === undefined;
    });
  }

  /**
   * Never rejects: answers every call of the group, and returns those that were answered together.
   * `onSplit` is called when the calls go on one by one, with each that is done.
   */
  async #send(
    group: readonly Call<Input, Output>[],
    lastWaiting: number,
    onSplit: (done?: Call<Input, Output>) => void,
  ): Promise<readonly Answered<Input, Output>[]> {
    try {
      const outputs = await this.#options.send(
        group.map(({ input }) => input),
        {
          answered: (index, output) => {
            const call = group[index];
            if (call === undefined) return;
            call.resolve(output);
            this.#answerPredicted([{ input: call.input, output, blockedBy: call.blockedBy }], lastWaiting);
            onSplit(call);
          },
          waiting: (index, blockedBy) => {
            const call = group[index];
            if (call === undefined) return;
            call.blockedBy = blockedBy;
            onSplit();
          },
        },
      );
      for (const [index, call] of group.entries()) this.#answer(call, outputs[index]);
      return group.flatMap(({ input, blockedBy }, index) => {
        const output = outputs[index];
        return output === undefined ? [] : [{ input, output, blockedBy }];
      });
    } catch (error) {
      // nothing took effect: each call is sent alone, so that only the faulty one fails
      if (group.length > 1 && mayBeOfOneCall(error)) {
        onSplit();
        await Promise.all(
          group.map(async (call) => {
            await this.#send([call], lastWaiting, onSplit);
            onSplit(call);
          }),
        );
      } else for (const call of group) call.reject(error);
      return [];
    }
  }

  #answer(call: Call<Input, Output>, output: Output | undefined): void {
    if (output !== undefined) return call.resolve(output);
    const { what, effect } = this.#options;
    const code = effect === 'unknown' ? 'STORAGE_OUTCOME_UNKNOWN' : 'STORAGE_UNAVAILABLE';
    call.reject(storageError(code, `${what} got no result from the provider.`, {}));
  }
}

/** Where the engine cannot be reached, a thousand single calls would only wait for it again. */
const mayBeOfOneCall = (error: unknown): boolean =>
  isStorageError(error) &&
  error.effect === 'none' &&
  !(isStorageError(error, 'STORAGE_UNAVAILABLE') && error.unreachable === true);
