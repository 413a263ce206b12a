/**
 * Two real processes and one directory. Every step of a takeover is tested on the simulated disk,
 * in `json-file-takeover.spec.ts`; only here is the wait for a missing heartbeat real.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { childProgram } from './child-program.js';

interface Reply {
  readonly to: string;
  readonly done?: unknown;
  readonly code?: string;
  readonly effect?: string;
  readonly message?: string;
}

/** A safety net: a process gets the lock much sooner, unless the machine is busy. */
const longLockTimeoutMs = 240_000;

/** A child process. Each reply names its command. */
class Process {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly exited: Promise<unknown>;
  /** The outcome of opening. */
  readonly opened: Promise<Reply>;

  constructor(script: string, directory: string, lockTimeoutMs: number) {
    this.#child = spawn(process.execPath, [script, directory, String(lockTimeoutMs)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdin.on('error', () => undefined); // a command to a killed process
    this.exited = once(this.#child, 'close');
    const lines: Interface = createInterface({ input: this.#child.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
    this.opened = this.#reply();
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async request(...line: readonly string[]): Promise<Reply> {
    await this.opened;
    this.#child.stdin.write(`${line.join(' ')}\n`);
    return await this.#reply();
  }

  /** Sends a command. `nextReply` returns its reply. */
  send(...line: readonly string[]): void {
    this.#child.stdin.write(`${line.join(' ')}\n`);
  }

  nextReply(): Promise<Reply> {
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
  let directory: string;
  let processes: Process[];

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
    const child = new Process(childProgram('lock-child.ts'), directory, lockTimeoutMs);
    processes.push(child);
    return child;
  };

  it('refuses the second process, naming the first', async () => {
    const first = start();
    expect(await first.request('put', 'a', 'one')).toMatchObject({ done: 'committed' });
    const second = await start().opened;
    expect(second).toMatchObject({ code: 'STORAGE_LOCKED' });
    expect(second.message).toContain(String(first.pid));
    expect(second.message).toContain(directory);
    expect(await first.request('put', 'b', 'two')).toMatchObject({ done: 'committed' });
    expect(await first.request('get', 'a')).toMatchObject({ done: 'one' });
  });

  it('lets the second process open it when the first has closed', async () => {
    const first = start();
    await first.request('put', 'a', 'one');
    const second = start(longLockTimeoutMs);
    expect(await first.request('close')).toMatchObject({ done: null });
    expect(await second.opened).toMatchObject({ done: null });
    expect(await second.request('get', 'a')).toMatchObject({ done: 'one' });
    expect(await first.request('get', 'a')).toMatchObject({ code: 'STORAGE_NOT_OPEN' });
  });

  it('takes over from a killed owner at once', async () => {
    const first = start();
    await first.request('put', 'a', 'one');
    await first.kill();
    const second = start(0); // without waiting
    expect(await second.opened).toMatchObject({ done: null });
    expect(await second.request('get', 'a')).toMatchObject({ done: 'one' });
  });

  it('takes over from a paused owner, which afterwards refuses every call and changes nothing', async () => {
    const first = start();
    expect(await first.request('put', 'a', 'one')).toMatchObject({ done: 'committed' });
    first.signal('SIGSTOP');
    const second = start(longLockTimeoutMs);
    expect(await second.opened).toMatchObject({ done: null });
    expect(await second.request('get', 'a')).toMatchObject({ done: 'one' });
    expect(await second.request('put', 'a', 'two')).toMatchObject({ done: 'committed' });

    // Sent while it is paused, so that it replies before any of its timers can detect the takeover.
    const commands = [
      ['put', 'a', 'three'],
      ['put', 'b', 'three'],
      ['get', 'a'],
      ['get', 'b'],
      ['scan'],
      ['drop'],
    ];
    for (const line of commands) first.send(...line);
    first.signal('SIGCONT');
    for (const _ of commands)
      expect(await first.nextReply()).toMatchObject({
        to: expect.any(String),
        code: 'STORAGE_LOCKED',
        effect: 'none',
      });
    expect(await first.request('get', 'a')).toMatchObject({ code: 'STORAGE_LOCKED', effect: 'none' });
    expect(await first.request('close')).not.toMatchObject({ code: 'gone' });

    expect(await second.request('scan')).toMatchObject({ done: ['a'] });
    expect(await second.request('get', 'a')).toMatchObject({ done: 'two' });
    expect(await second.request('put', 'c', 'four')).toMatchObject({ done: 'committed' });
    await second.kill();
    const third = start();
    expect(await third.opened).toMatchObject({ done: null });
    expect(await third.request('scan')).toMatchObject({ done: ['a', 'c'] });
  });

  it('does not acknowledge a write that was in progress when the owner was paused and replaced', async () => {
    const first = start();
    await first.request('put', 'a', 'one');
    for (let number = 0; number < 200; number += 1) first.send('put', `k${number}`, 'paused');
    first.signal('SIGSTOP');
    const second = start(longLockTimeoutMs);
    expect(await second.opened).toMatchObject({ done: null });
    const before = (await second.request('scan')).done as string[];
    expect(await second.request('put', 'z', 'two')).toMatchObject({ done: 'committed' });
    first.signal('SIGCONT');
    const acknowledged: string[] = [];
    for (let number = 0; number < 200; number += 1) {
      const reply = await first.nextReply();
      if (reply.done !== undefined) acknowledged.push(reply.to.split(' ')[1] as string);
      else
        expect(['STORAGE_OUTCOME_UNKNOWN unknown', 'STORAGE_LOCKED none']).toContain(
          `${reply.code} ${reply.effect}`,
        );
    }
    for (const key of acknowledged)
      expect(await second.request('get', key)).toMatchObject({ to: `get ${key}`, done: 'paused' });
    expect((await second.request('scan')).done).toEqual(expect.arrayContaining(before));
  });

  it('lets exactly one of twenty processes open a new directory at the same time', async () => {
    const children = Array.from({ length: 20 }, () => start());
    const replies = await Promise.all(children.map((child) => child.opened));
    const owners = children.filter((_, index) => replies[index]?.done !== undefined);
    expect(owners).toHaveLength(1);
    const [owner] = owners as [Process];
    for (const reply of replies.filter(({ code }) => code !== undefined)) {
      expect(reply.code).toBe('STORAGE_LOCKED');
      expect(reply.message).toContain(String(owner.pid));
    }
    expect(await owner.request('put', 'a', 'one')).toMatchObject({ done: 'committed' });
  });

  it('lets exactly one of ten processes take over from a killed owner', async () => {
    const first = start();
    await first.request('put', 'a', 'one');
    await first.kill();
    const children = Array.from({ length: 10 }, () => start());
    const replies = await Promise.all(children.map((child) => child.opened));
    const owners = children.filter((_, index) => replies[index]?.done !== undefined);
    expect(owners).toHaveLength(1);
    expect(await (owners[0] as Process).request('get', 'a')).toMatchObject({ done: 'one' });
    expect(replies.filter(({ code }) => code === 'STORAGE_LOCKED')).toHaveLength(9);
  });

  it('lets twenty waiting processes open it one after the other', async () => {
    const children = Array.from({ length: 20 }, () => start(longLockTimeoutMs));
    let next = 0;
    await Promise.all(
      children.map(async (child) => {
        expect(await child.opened).toMatchObject({ done: null });
        expect(await child.request('put', `k${(next += 1)}`, String(child.pid))).toMatchObject({
          done: 'committed',
        });
        await child.request('close');
      }),
    );
    expect(await readdir(directory)).not.toHaveLength(0);
    const last = start();
    expect(((await last.request('scan')).done as string[]).length).toBe(10); // a page
  });

  it('writes the owner as readable text', async () => {
    const first = start();
    await first.opened;
    const lock = (await readdir(directory)).find((name) => name.includes('lock')) as string;
    expect(await readFile(join(directory, lock), 'utf8')).toContain(String(first.pid));
  });
});
