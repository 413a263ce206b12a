/** Processes that work on streams (`streams-child.ts`), and the lines that they print. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { childProgram } from './child-program.js';

export class StreamsProcess implements AsyncDisposable {
  readonly #child;
  readonly #exited: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;

  constructor(where: string, ...role: readonly string[]) {
    const args = [childProgram('streams-child.ts'), where, ...role];
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exited = once(this.#child, 'close');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line that it prints; `undefined` once it has ended. */
  async line(): Promise<string | undefined> {
    const line = await this.#lines.next();
    return line.done === true ? undefined : line.value;
  }

  async answer(): Promise<unknown> {
    return JSON.parse((await this.line()) ?? 'null') as unknown;
  }

  send(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  /** Resolves when it has ended; lines printed before can still be read. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL');
    await this.#exited;
  }
}
