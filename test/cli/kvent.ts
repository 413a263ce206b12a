/** `kvent` as people start it: `node libs/cli/bin/kvent.js`. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

export const root = join(import.meta.dirname, '../..');
const bin = join(root, 'libs/cli/bin/kvent.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  /** @default that of the repository */
  readonly script?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class KventProcess implements AsyncDisposable {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #stdout = '';
  #stderr = '';
  #said: () => void = () => undefined;

  constructor(args: readonly string[], cwd: string, { script = bin, env = {} }: Surroundings = {}) {
    const environment = Object.entries(process.env).filter(
      ([name]) => !/^(KVENT_|NODE_OPTIONS|PG)/.test(name),
    );
    this.#child = spawn(process.execPath, [script, ...args], {
      cwd,
      env: { ...Object.fromEntries(environment), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#said();
    });
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code, signal) =>
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr }),
      );
    });
  }

  /** Answers when it has said this on stderr; rejects when it ended before. */
  async says(text: string): Promise<void> {
    const said = new Promise<'said'>((resolve) => {
      this.#said = () => {
        if (this.#stderr.includes(text)) resolve('said');
      };
      this.#said();
    });
    const first = await Promise.race([said, this.ended]);
    if (first !== 'said') throw new Error(`It ended before it said '${text}': ${JSON.stringify(first)}`);
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async kill(signal: NodeJS.Signals): Promise<Ended> {
    this.#child.kill(signal);
    return await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
  }
}
