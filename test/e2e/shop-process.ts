/** The shop as people start it: `node apps/storefront/dist/main.js`. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { join } from 'node:path';
import { Client } from './client.js';

const root = join(import.meta.dirname, '../..');
const main = join(root, 'apps/storefront/dist/main.js');

export interface StartOptions {
  /** STOREFRONT_STORAGE; not set if not given. */
  readonly storage?: string;
  /** @default any free port */
  readonly port?: number | string;
  readonly args?: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class ShopProcess implements AsyncDisposable {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #stdout = '';
  #stderr = '';
  #said: () => void = () => undefined;

  constructor({ storage, port = 0, args = [], cwd = root, env = {} }: StartOptions) {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(PORT|LOG|STOREFRONT_|KVENT_|NODE_OPTIONS)/.test(name),
    );
    const own = { PORT: String(port), ...(storage !== undefined && { STOREFRONT_STORAGE: storage }), ...env };
    this.#child = spawn(process.execPath, [main, ...args], {
      cwd,
      env: { ...Object.fromEntries(inherited), ...own },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#said();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code, signal) =>
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr }),
      );
    });
  }

  /** A shop that is open. Rejects, with what it said, when it ends instead. */
  static async open(options: StartOptions): Promise<ShopProcess> {
    const shop = new ShopProcess(options);
    const opened = new Promise<'opened'>((resolve) => {
      shop.#said = () => {
        if (shop.#stdout.includes('Stop: Ctrl+C')) resolve('opened');
      };
    });
    const first = await Promise.race([opened, shop.ended]);
    if (first === 'opened') return shop;
    throw new Error(`The shop did not open: ${JSON.stringify(first)}`);
  }

  get pid(): number {
    return this.#child.pid as number;
  }
  /** What it has printed so far. */
  get printed(): string {
    return this.#stdout;
  }
  get port(): number {
    return Number(/http:\/\/localhost:(\d+)/.exec(this.#stdout)?.[1]);
  }
  get client(): Client {
    return new Client(`http://localhost:${this.port}`);
  }

  async kill(signal: NodeJS.Signals): Promise<Ended> {
    this.#child.kill(signal);
    return await this.ended;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
  }
}
