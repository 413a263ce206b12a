/**
 * The queue beneath `CoalescingProvider`: calls wait, are picked into groups, travel together, and
 * are answered one by one.
 */
import { aborted, throwIfAborted } from '../base/abort.js';
import { isStorageError, storageError } from '../base/errors.js';

/** Groups on their way at once. */
const groupsMax = 4;
/**
 * From twice as many on, what waits while nothing is on its way travels in halves: else the engine
 * and the callers would work in turns.
 */
const halfMin = 32;

/** One caller's request, and how it is answered. */
export interface Call<Input, Output> {
  readonly input: Input;
  /** Calls are numbered as they come. */
  readonly number: number;
  /**
   * What it waits for in the engine, held by somebody else: all else that it needs is free
   * meanwhile.
   */
  waitsFor?: string;
  readonly resolve: (output: Output) => void;
  readonly reject: (error: unknown) => void;
}

interface GathererOptions<Input, Output> {
  /** In messages: 'A commit'. */
  readonly what: string;
  /** Of a call that is aborted on its way. */
  readonly effect: 'none' | 'unknown';
  /**
   * The database that a call asks. Those that wait are taken in turns over the databases, each in
   * the order it came: nobody waits for all the calls of another tenant.
   */
  readonly database: (input: Input) => string;
  /**
   * The calls of the next group, from the front of those that wait. May be none, while those in
   * flight stand in their way.
   */
  readonly pick: (
    waiting: readonly Call<Input, Output>[],
    inFlight: ReadonlySet<Call<Input, Output>>,
  ) => readonly Call<Input, Output>[];
  /**
   * Answers in the order of the inputs; `progress` may be told some of them before. Rejects only
   * when none of them can have taken effect, or with `effect: 'unknown'`.
   */
  readonly send: (inputs: readonly Input[], progress: Progress<Output>) => Promise<readonly Output[]>;
  /**
   * From what was answered, what is certain now about calls that waited already when it was sent.
   */
  readonly foretell?: (
    answered: readonly Answered<Input, Output>[],
  ) => (waiting: Input) => Output | undefined;
}

/** What becomes of calls while their group is on its way. */
interface Progress<Output> {
  /** One of them is answered. */
  readonly answered: (index: number, output: Output) => void;
  /** One of them waits for something that somebody else holds. */
  readonly waiting: (index: number, what: string) => void;
}

export interface Answered<Input, Output> {
  readonly input: Input;
  readonly output: Output;
  /** What it waited for last. */
  readonly waitedFor: string | undefined;
}

export class CallBatcher<Input, Output> {
  readonly #options: GathererOptions<Input, Output>;
  #waiting: Call<Input, Output>[] = [];
  readonly #inFlight = new Set<Call<Input, Output>>();
  #groups = 0;
  #calls = 0;
  #scheduled = false;
  readonly #idle: (() => void)[] = [];

  constructor(options: GathererOptions<Input, Output>) {
    this.#options = options;
  }

  async call(input: Input, signal: AbortSignal | undefined): Promise<Output> {
    const { what, effect } = this.#options;
    throwIfAborted(what, signal);
    return await new Promise<Output>((resolve, reject) => {
      const call: Call<Input, Output> = {
        input,
        number: (this.#calls += 1),
        resolve: (output) => {
          signal?.removeEventListener('abort', stop);
          resolve(output);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', stop);
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the engine's own error
          reject(error);
        },
      };
      const stop = (): void => {
        const queued = this.#waiting.includes(call);
        if (queued) this.#waiting = this.#waiting.filter((other) => other !== call);
        call.reject(aborted(what, queued ? 'none' : effect, signal as AbortSignal));
        this.#flushSoon();
      };
      signal?.addEventListener('abort', stop, { once: true });
      this.#waiting.push(call);
      this.#flushSoon();
    });
  }

  /** Settles once nothing waits and nothing is on its way. */
  async idle(): Promise<void> {
    if (this.#waiting.length === 0 && this.#inFlight.size === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #flushSoon(): void {
    if (this.#scheduled || this.#groups >= groupsMax) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#groups < groupsMax) {
      const picked = this.#options.pick(this.#inTurns(), this.#inFlight);
      const group =
        this.#groups > 0 || picked.length < 2 * halfMin
          ? picked
          : picked.slice(0, Math.ceil(picked.length / 2));
      if (group.length === 0) break;
      const leaving = new Set(group);
      this.#waiting = this.#waiting.filter((call) => !leaving.has(call));
      void this.#travel(group);
    }
    if (this.#waiting.length === 0 && this.#inFlight.size === 0)
      for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Whether such a call waits or is on its way. */
  has(isSuch: (input: Input) => boolean): boolean {
    for (const { input } of this.#inFlight) if (isSuch(input)) return true;
    return this.#waiting.some(({ input }) => isSuch(input));
  }

  /** Those that wait, the first of each database before the second of any. */
  #inTurns(): readonly Call<Input, Output>[] {
    const { database } = this.#options;
    const lines = new Map<string, Call<Input, Output>[]>();
    for (const call of this.#waiting) {
      const name = database(call.input);
      const line = lines.get(name);
      if (line === undefined) lines.set(name, [call]);
      else line.push(call);
    }
    if (lines.size < 2) return this.#waiting;
    const inTurns: Call<Input, Output>[] = [];
    for (let turn = 0; lines.size > 0; turn += 1) {
      for (const [name, line] of lines) {
        inTurns.push(line[turn] as Call<Input, Output>);
        if (turn + 1 === line.length) lines.delete(name);
      }
    }
    return inTurns;
  }

  async #travel(group: readonly Call<Input, Output>[]): Promise<void> {
    this.#groups += 1;
    const waited = this.#calls;
    for (const call of group) this.#inFlight.add(call);
    let inOne = true;
    /** What goes on call by call may take long for one of them: it holds up no other group. */
    const dissolve = (): void => {
      if (inOne) this.#groups -= 1;
      inOne = false;
    };
    const answered = await this.#send(group, waited, (done) => {
      dissolve();
      if (done !== undefined) this.#inFlight.delete(done);
      this.#flush();
    });
    dissolve();
    for (const call of group) this.#inFlight.delete(call);
    this.#answerForetold(answered, waited);
    this.#flush();
  }

  /**
   * A call that waited all the while may be judged by what it waited for, without a way of its own.
   */
  #answerForetold(answered: readonly Answered<Input, Output>[], waited: number): void {
    const { foretell } = this.#options;
    if (foretell === undefined || answered.length === 0 || this.#waiting.length === 0) return;
    const answerTo = foretell(answered);
    this.#waiting = this.#waiting.filter((call) => {
      const output = call.number > waited ? undefined : answerTo(call.input);
      if (output !== undefined) call.resolve(output);
      return output === undefined;
    });
  }

  /**
   * Never rejects: every call of the group has its answer. `apart` is told that they go on one by
   * one, and which of them is done. Answers what was answered together.
   */
  async #send(
    group: readonly Call<Input, Output>[],
    waited: number,
    apart: (done?: Call<Input, Output>) => void,
  ): Promise<readonly Answered<Input, Output>[]> {
    try {
      const outputs = await this.#options.send(
        group.map(({ input }) => input),
        {
          answered: (index, output) => {
            const call = group[index];
            if (call === undefined) return;
            call.resolve(output);
            this.#answerForetold([{ input: call.input, output, waitedFor: call.waitsFor }], waited);
            apart(call);
          },
          waiting: (index, what) => {
            const call = group[index];
            if (call === undefined) return;
            call.waitsFor = what;
            apart();
          },
        },
      );
      for (const [index, call] of group.entries()) this.#answer(call, outputs[index]);
      return group.flatMap(({ input, waitsFor }, index) => {
        const output = outputs[index];
        return output === undefined ? [] : [{ input, output, waitedFor: waitsFor }];
      });
    } catch (error) {
      // nothing took effect: each call goes alone, so that the one at fault keeps its fault to
      // itself
      if (group.length > 1 && isStorageError(error) && error.effect === 'none') {
        apart();
        await Promise.all(
          group.map(async (call) => {
            await this.#send([call], waited, apart);
            apart(call);
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
    call.reject(storageError(code, `${what} was given no answer by the provider.`, {}));
  }
}
