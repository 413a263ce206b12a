/** Several real processes that work on one database. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { childProgram } from './child-program.js';
import type { WorkName, WorkReport } from './postgres-work.js';

/** Starts the processes. They begin together, after all of them have opened the storage. */
export async function workInProcesses(
  url: string,
  work: WorkName,
  processes: number,
  rounds: number,
  onBegin: () => void = () => undefined,
): Promise<readonly WorkReport[]> {
  const children = Array.from({ length: processes }, (_, number) => new Worker(url, work, number, rounds));
  try {
    for (const child of children) await child.nextLine();
    onBegin();
    for (const child of children) child.begin();
    return await Promise.all(children.map(async (child) => (await child.nextLine()) as WorkReport));
  } finally {
    for (const child of children) child.end();
  }
}

/** A process that runs `postgres-child.ts`. */
export class Worker {
  readonly #child;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<unknown>;
  #errors = '';

  constructor(url: string, work: WorkName, number: number, rounds: number) {
    const args = [childProgram('postgres-child.ts'), url, work, String(number), String(rounds)];
    this.#child = spawn(process.execPath, args, { stdio: 'pipe' });
    this.#closed = once(this.#child, 'close');
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async nextLine(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) {
      await this.#closed;
      throw new Error(`A process ended before its report.\n${this.#errors}`);
    }
    return JSON.parse(line.value) as unknown;
  }

  begin(): void {
    this.#child.stdin.write('go\n');
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}
