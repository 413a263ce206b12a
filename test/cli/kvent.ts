/** The command as users start it: `node libs/cli/bin/kvent.cjs`. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

export const root = join(import.meta.dirname, '../..');
const bin = join(root, 'libs/cli/bin/kvent.cjs');

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KventOptions {
  /** @default the script of the repository */
  readonly script?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class KventProcess implements AsyncDisposable {
  readonly exit: Promise<Exit>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #stdout = '';
  #stderr = '';
  #onOutput: () => void = () => undefined;

  constructor(args: readonly string[], cwd: string, { script = bin, env = {} }: KventOptions = {}) {
    const environment = Object.entries(process.env).filter(
      ([name]) => !/^(KVENT_|NODE_OPTIONS|PG)/.test(name),
    );
    this.#child = spawn(process.execPath, [script, ...args], {
      cwd,
      env: { ...Object.fromEntries(environment), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#onOutput();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#onOutput();
    });
    this.exit = new Promise((resolve) => {
      this.#child.on('close', (code, signal) =>
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr }),
      );
    });
  }

  /** Resolves when this text is on stderr. Rejects if the process ends before. */
  async waitForStderr(text: string): Promise<void> {
    await this.#waitFor(text, () => this.#stderr);
  }

  /** The same on stdout. */
  async waitForStdout(text: string): Promise<void> {
    await this.#waitFor(text, () => this.#stdout);
  }

  async #waitFor(text: string, output: () => string): Promise<void> {
    const printed = new Promise<'printed'>((resolve) => {
      this.#onOutput = () => {
        if (output().includes(text)) resolve('printed');
      };
      this.#onOutput();
    });
    const first = await Promise.race([printed, this.exit]);
    if (first !== 'printed')
      throw new Error(`The process ended without printing '${text}': ${JSON.stringify(first)}`);
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async kill(signal: NodeJS.Signals): Promise<Exit> {
    this.#child.kill(signal);
    return await this.exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
  }
}
