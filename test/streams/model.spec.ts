/**
 * Compares streams with a plain array under random work: appends with any expected version,
 * transactions, sessions that are closed, abandoned or expired, moves of the clock, snapshots and
 * restarts. A failure is shrunk and printed with its seed; `KVENT_SEED=<seed> npm run jest --
 * test/streams/model` repeats it.
 */
import { describe, expect, test } from '@jest/globals';
import { defineStream, event, type EventOf, type StreamSession } from '@kvent/event-store';
import { isStorageError } from '@kvent/key-value-storage';
import { collect } from '@kvent/key-value-storage/testing';
import { StreamSubject } from '@kvent/event-store/testing';
import fc from 'fast-check';
import { providers } from '../providers.js';
import { seedOfRun } from '../seed.mjs';

const seed = seedOfRun();
const runs = Number(process.env['KVENT_RUNS'] ?? 25);

const Numbers = defineStream('number', {
  events: { added: event<{ n: number }>() },
  initial: (): readonly number[] => [],
  evolve: (numbers, { data: { n } }) => [...numbers, n],
  snapshot: { every: 3 },
});
type Added = EventOf<typeof Numbers>;
const sessionTimeoutMs = 100;

type Step =
  | {
      readonly step: 'append';
      readonly count: number;
      readonly expected: number | 'absent' | 'present' | 'any';
    }
  | { readonly step: 'transact'; readonly count: number }
  | { readonly step: 'open' | 'close' | 'renew' | 'abandon' | 'snapshot' | 'clear' | 'reopen' }
  | { readonly step: 'sessionAppend'; readonly count: number }
  | { readonly step: 'advance'; readonly ms: number };

const count = fc.integer({ min: 1, max: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    arbitrary: fc.record({
      step: fc.constant('append' as const),
      count,
      expected: fc.oneof(
        fc.integer({ min: 0, max: 12 }),
        fc.constantFrom('absent' as const, 'present' as const, 'any' as const),
      ),
    }),
    weight: 5,
  },
  { arbitrary: fc.record({ step: fc.constant('transact' as const), count }), weight: 3 },
  {
    arbitrary: fc.record({
      step: fc.constantFrom('open' as const, 'close' as const, 'renew' as const, 'abandon' as const),
    }),
    weight: 5,
  },
  { arbitrary: fc.record({ step: fc.constant('sessionAppend' as const), count }), weight: 4 },
  {
    arbitrary: fc.record({ step: fc.constantFrom('snapshot' as const, 'clear' as const, 'reopen' as const) }),
    weight: 2,
  },
  {
    arbitrary: fc.record({ step: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 70 }) }),
    weight: 4,
  },
);

// one provider of each engine: the clauses prove the wrappers
for (const { name, lacks, ...provider } of providers.filter((each) =>
  ['memory', 'json-file', 'postgres'].includes(each.name),
)) {
  describe(`random work on streams on ${name}`, () => {
    test(`equals a plain array (KVENT_SEED=${seed})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
          const subject = new StreamSubject(provider);
          await subject.start();
          try {
            const work = new Work(subject, !lacks.includes('durable'));
            for (const each of steps) {
              await work.perform(each);
              await work.compare();
            }
          } finally {
            await subject.finish();
          }
        }),
        { seed, numRuns: runs, endOnFailure: false },
      );
    }, 300_000);
  });
}

/** The stream and its model: the numbers, the session, and the time at which its lock expires. */
class Work {
  readonly #subject: StreamSubject;
  readonly #durable: boolean;
  readonly #model: number[] = [];
  #session: StreamSession<typeof Numbers> | undefined;
  /** The lock is valid before this time. */
  #until = 0;
  /** Another writer has taken the stream since the session was opened. */
  #takenOver = false;
  #next = 0;

  constructor(subject: StreamSubject, durable: boolean) {
    this.#subject = subject;
    this.#durable = durable;
  }

  get #numbers() {
    return this.#subject.stream(Numbers);
  }
  get #locked(): boolean {
    return this.#subject.clock.now() < this.#until;
  }

  async perform(each: Step): Promise<void> {
    switch (each.step) {
      case 'append': {
        const events = this.#events(each.count);
        const { length } = this.#model;
        const isMet =
          each.expected === 'any' ||
          (each.expected === 'present'
            ? length > 0
            : length === (each.expected === 'absent' ? 0 : each.expected));
        const code = !isMet ? 'STREAM_VERSION_MISMATCH' : this.#locked ? 'STREAM_LOCKED' : undefined;
        return await this.#fromOutside(
          code,
          events,
          async () => await this.#numbers.append('a', events, { expectedVersion: each.expected }),
        );
      }
      case 'transact': {
        const events = this.#events(each.count);
        return await this.#fromOutside(
          this.#locked ? 'STREAM_LOCKED' : undefined,
          events,
          async () => await this.#numbers.transact('a', () => events),
        );
      }
      case 'open':
        return await this.#open();
      case 'sessionAppend': {
        if (this.#session === undefined) return;
        const events = this.#events(each.count);
        const session = this.#session;
        const code = await codeOf(async () => await session.append(events));
        expect(code).toBe(this.#sessionError);
        if (code === undefined) this.#appended(events, this.#subject.clock.now() + sessionTimeoutMs);
        else this.#session = undefined;
        return;
      }
      case 'renew': {
        if (this.#session === undefined) return;
        const session = this.#session;
        const code = await codeOf(async () => await session.renew());
        expect(code).toBe(this.#sessionError);
        if (code === undefined) this.#until = this.#subject.clock.now() + sessionTimeoutMs;
        else this.#session = undefined;
        return;
      }
      case 'close': {
        const mine = this.#session !== undefined && this.#sessionError === undefined;
        await this.#session?.close();
        if (mine) this.#until = 0;
        this.#session = undefined;
        return;
      }
      case 'abandon':
        // like a holder that crashed: its lock remains until it expires
        this.#session = undefined;
        return;
      case 'advance':
        return await this.#subject.clock.advance(each.ms);
      case 'snapshot':
        if (this.#model.length > 0) await this.#numbers.snapshot('a');
        return;
      case 'clear':
        await this.#numbers.clearSnapshots('a');
        return;
      case 'reopen':
        if (!this.#durable) return;
        this.#session = undefined;
        await this.#subject.reopen();
    }
  }

  async compare(): Promise<void> {
    const { state, version } = await this.#numbers.load('a');
    expect([state, version]).toEqual([this.#model, this.#model.length]);
    const events = await collect(this.#numbers.read('a'));
    expect(events.map(({ version: at, data }) => [at, data.n])).toEqual(
      this.#model.map((n, index) => [index + 1, n]),
    );
    const half = Math.floor(this.#model.length / 2);
    expect((await this.#numbers.load('a', { atVersion: half })).state).toEqual(this.#model.slice(0, half));
  }

  get #sessionError(): string | undefined {
    if (this.#takenOver) return 'SESSION_LOST';
    return this.#locked ? undefined : 'SESSION_EXPIRED';
  }

  async #open(): Promise<void> {
    let opened: StreamSession<typeof Numbers> | undefined;
    const code = await codeOf(async () => {
      opened = await this.#numbers.openSession('a', { sessionTimeoutMs, openTimeoutMs: 0 });
    });
    expect(code).toBe(this.#locked ? 'SESSION_OPEN_FAILED' : undefined);
    if (opened === undefined) return;
    expect([opened.version, opened.state]).toEqual([this.#model.length, this.#model]);
    this.#session = opened;
    this.#takenOver = false;
    this.#until = this.#subject.clock.now() + sessionTimeoutMs;
  }

  async #fromOutside(
    code: string | undefined,
    events: readonly Added[],
    work: () => Promise<unknown>,
  ): Promise<void> {
    expect(await codeOf(work)).toBe(code);
    if (code !== undefined) return;
    this.#appended(events, this.#until);
    this.#takenOver = true;
    await this.#subject.store.idle();
  }

  #appended(events: readonly Added[], until: number): void {
    this.#model.push(...events.map(({ data }) => data.n));
    this.#until = until;
  }

  #events(many: number): readonly Added[] {
    return Array.from({ length: many }, () => ({ type: 'added', data: { n: (this.#next += 1) } }) as const);
  }
}

async function codeOf(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (isStorageError(error)) return error.code;
    throw error;
  }
}
