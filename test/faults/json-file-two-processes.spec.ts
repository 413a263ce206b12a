/**
 * Two real processes and one directory. What needs the same machine but not real processes (every
 * step of a takeover) is played on the simulated disk in `json-file-takeover.spec.ts`; only here is
 * the wait for a missing beat real.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { compileChildren, type Compiled } from './compiled-child.js';

interface Reply {
  readonly to: string;
  readonly done?: unknown;
  readonly code?: string;
  readonly effect?: string;
  readonly message?: string;
}

/** How long a process waits for the lock: it gets it much sooner, unless the machine is busy. */
const patienceMs = 240_000;

/** One child. Each reply says what it answers. */
class Process {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly exited: Promise<unknown>;
  /** How it fared with the lock. */
  readonly opened: Promise<Reply>;

  constructor(script: string, directory: string, lockTimeoutMs: number) {
    this.#child = spawn(process.execPath, [script, directory, String(lockTimeoutMs)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdin.on('error', () => undefined); // told something when it was dead
    this.exited = once(this.#child, 'close');
    const lines: Interface = createInterface({ input: this.#child.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
    this.opened = this.#reply();
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async tell(...line: readonly string[]): Promise<Reply> {
    await this.opened;
    this.#child.stdin.write(`${line.join(' ')}\n`);
    return await this.#reply();
  }

  /** Says something without waiting for the answer: `answer` does. */
  say(...line: readonly string[]): void {
    this.#child.stdin.write(`${line.join(' ')}\n`);
  }

  answer(): Promise<Reply> {
    return this.#reply();
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }

  async #reply(): Promise<Reply> {
    const line = await this.#lines.next();
    return line.done === true ? { to: '', code: 'gone' } : (JSON.parse(line.value) as Reply);
  }
}

describe('two processes and one JSON-file directory', () => {
  let compiled: Compiled;
  let directory: string;
  let processes: Process[];

  beforeAll(async () => {
    compiled = await compileChildren();
  });
  afterAll(async () => {
    await compiled[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'kvent-lock-')), 'data');
    processes = [];
  });
  afterEach(async () => {
    for (const child of processes) {
      child.signal('SIGCONT');
      await child.kill();
    }
    await rm(join(directory, '..'), { recursive: true, force: true });
  });

  const start = (lockTimeoutMs = 0): Process => {
    const child = new Process(compiled.path('lock-child.js'), directory, lockTimeoutMs);
    processes.push(child);
    return child;
  };

  it('refuses the second, naming the first', async () => {
    const first = start();
    expect(await first.tell('put', 'a', 'one')).toMatchObject({ done: 'committed' });
    const second = await start().opened;
    expect(second).toMatchObject({ code: 'STORAGE_LOCKED' });
    expect(second.message).toContain(String(first.pid));
    expect(second.message).toContain(directory);
    expect(await first.tell('put', 'b', 'two')).toMatchObject({ done: 'committed' });
    expect(await first.tell('get', 'a')).toMatchObject({ done: 'one' });
  });

  it('lets the second in as soon as the first has closed', async () => {
    const first = start();
    await first.tell('put', 'a', 'one');
    const second = start(patienceMs);
    expect(await first.tell('close')).toMatchObject({ done: null });
    expect(await second.opened).toMatchObject({ done: null });
    expect(await second.tell('get', 'a')).toMatchObject({ done: 'one' });
    expect(await first.tell('get', 'a')).toMatchObject({ code: 'STORAGE_NOT_OPEN' });
  });

  it('takes over from a dead owner at once', async () => {
    const first = start();
    await first.tell('put', 'a', 'one');
    await first.kill();
    const second = start(0); // would not wait for anybody
    expect(await second.opened).toMatchObject({ done: null });
    expect(await second.tell('get', 'a')).toMatchObject({ done: 'one' });
  });

  it('takes over from an owner that was paused, who then answers nothing any more and harms nothing', async () => {
    const first = start();
    expect(await first.tell('put', 'a', 'one')).toMatchObject({ done: 'committed' });
    first.signal('SIGSTOP');
    const second = start(patienceMs);
    expect(await second.opened).toMatchObject({ done: null });
    expect(await second.tell('get', 'a')).toMatchObject({ done: 'one' });
    expect(await second.tell('put', 'a', 'two')).toMatchObject({ done: 'committed' });

    // asked while it sleeps, so that it answers before any timer of its own can tell it what
    // happened
    const asked = [
      ['put', 'a', 'three'],
      ['put', 'b', 'three'],
      ['get', 'a'],
      ['get', 'b'],
      ['scan'],
      ['drop'],
    ];
    for (const line of asked) first.say(...line);
    first.signal('SIGCONT');
    for (const _ of asked)
      expect(await first.answer()).toMatchObject({
        to: expect.any(String),
        code: 'STORAGE_LOCKED',
        effect: 'none',
      });
    expect(await first.tell('get', 'a')).toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
    expect(await first.tell('close')).not.toMatchObject({ code: 'gone' });

    expect(await second.tell('scan')).toMatchObject({ done: ['a'] });
    expect(await second.tell('get', 'a')).toMatchObject({ done: 'two' });
    expect(await second.tell('put', 'c', 'four')).toMatchObject({ done: 'committed' });
    await second.kill();
    const third = start();
    expect(await third.opened).toMatchObject({ done: null });
    expect(await third.tell('scan')).toMatchObject({ done: ['a', 'c'] });
  });

  it('does not answer a write that was under way when the owner was paused and robbed', async () => {
    const first = start();
    await first.tell('put', 'a', 'one');
    for (let number = 0; number < 200; number += 1) first.say('put', `k${number}`, 'paused');
    first.signal('SIGSTOP');
    const second = start(patienceMs);
    expect(await second.opened).toMatchObject({ done: null });
    const seen = (await second.tell('scan')).done as string[];
    expect(await second.tell('put', 'z', 'two')).toMatchObject({ done: 'committed' });
    first.signal('SIGCONT');
    const acknowledged: string[] = [];
    for (let number = 0; number < 200; number += 1) {
      const reply = await first.answer();
      if (reply.done !== undefined) acknowledged.push(reply.to.split(' ')[1] as string);
      else
        expect(['STORAGE_OUTCOME_UNKNOWN unknown', 'STORAGE_LOCKED none']).toContain(
          `${reply.code} ${reply.effect}`,
        );
    }
    for (const key of acknowledged)
      expect(await second.tell('get', key)).toMatchObject({ to: `get ${key}`, done: 'paused' });
    expect((await second.tell('scan')).done).toEqual(expect.arrayContaining(seen));
  });

  it('lets exactly one of twenty in who open a new directory at once', async () => {
    const children = Array.from({ length: 20 }, () => start());
    const replies = await Promise.all(children.map((child) => child.opened));
    const winners = children.filter((_, index) => replies[index]?.done !== undefined);
    expect(winners).toHaveLength(1);
    const [winner] = winners as [Process];
    for (const reply of replies.filter(({ code }) => code !== undefined)) {
      expect(reply.code).toBe('STORAGE_LOCKED');
      expect(reply.message).toContain(String(winner.pid));
    }
    expect(await winner.tell('put', 'a', 'one')).toMatchObject({ done: 'committed' });
  });

  it('lets exactly one of ten in when a dead owner is robbed by all of them', async () => {
    const first = start();
    await first.tell('put', 'a', 'one');
    await first.kill();
    const children = Array.from({ length: 10 }, () => start());
    const replies = await Promise.all(children.map((child) => child.opened));
    const winners = children.filter((_, index) => replies[index]?.done !== undefined);
    expect(winners).toHaveLength(1);
    expect(await (winners[0] as Process).tell('get', 'a')).toMatchObject({ done: 'one' });
    expect(replies.filter(({ code }) => code === 'STORAGE_LOCKED')).toHaveLength(9);
  });

  it('lets twenty in one after the other who wait for each other', async () => {
    const children = Array.from({ length: 20 }, () => start(patienceMs));
    let next = 0;
    await Promise.all(
      children.map(async (child) => {
        expect(await child.opened).toMatchObject({ done: null });
        expect(await child.tell('put', `k${(next += 1)}`, String(child.pid))).toMatchObject({
          done: 'committed',
        });
        await child.tell('close');
      }),
    );
    expect(await readdir(directory)).not.toHaveLength(0);
    const last = start();
    expect(((await last.tell('scan')).done as string[]).length).toBe(10); // a page
  });

  it('writes who owns it so that a person can read it', async () => {
    const first = start();
    await first.opened;
    const lock = (await readdir(directory)).find((name) => name.includes('lock')) as string;
    expect(await readFile(join(directory, lock), 'utf8')).toContain(String(first.pid));
  });
});
