/** The shop as a process. */
import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onceInRun } from '../packaging/once-in-run.js';
import { Client } from './client.js';

const root = join(import.meta.dirname, '../..');
const programs = {
  /** As users start it. */
  modules: join(root, 'apps/storefront/dist/main.js'),
  /** The same as one file, which starts in half of the CPU time: `bundle-shop.mjs`. */
  bundle: join(root, 'apps/storefront/dist/bundle.mjs'),
} as const;

/** Makes the bundle of the shop that was built, once in a run of tests. */
export async function bundleShop(): Promise<void> {
  await onceInRun('bundle-shop', async () => {
    await promisify(execFile)(process.execPath, [join(root, 'test/e2e/bundle-shop.mjs'), programs.bundle]);
    return true;
  });
}

export interface StartOptions {
  /** @default 'bundle' */
  readonly program?: keyof typeof programs;
  /** STOREFRONT_STORAGE. @default not set */
  readonly storage?: string;
  /** @default any free port */
  readonly port?: number | string;
  readonly args?: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class ShopProcess implements AsyncDisposable {
  readonly exit: Promise<Exit>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #stdout = '';
  #stderr = '';
  #onStdout: () => void = () => undefined;

  constructor({ program = 'bundle', storage, port = 0, args = [], cwd = root, env = {} }: StartOptions) {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(PORT|LOG|STOREFRONT_|KVENT_|NODE_OPTIONS)/.test(name),
    );
    const own = { PORT: String(port), ...(storage !== undefined && { STOREFRONT_STORAGE: storage }), ...env };
    this.#child = spawn(process.execPath, [programs[program], ...args], {
      cwd,
      env: { ...Object.fromEntries(inherited), ...own },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#onStdout();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.exit = new Promise((resolve) => {
      this.#child.on('close', (code, signal) =>
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr }),
      );
    });
  }

  /** Starts a shop and resolves when it is open. Rejects with its output if it ends instead. */
  static async open(options: StartOptions): Promise<ShopProcess> {
    const shop = new ShopProcess(options);
    const opened = new Promise<'opened'>((resolve) => {
      shop.#onStdout = () => {
        if (shop.#stdout.includes('Stop: Ctrl+C')) resolve('opened');
      };
    });
    const first = await Promise.race([opened, shop.exit]);
    if (first === 'opened') return shop;
    throw new Error(`The shop did not open: ${JSON.stringify(first)}`);
  }

  get pid(): number {
    return this.#child.pid as number;
  }
  /** The stdout so far. */
  get printed(): string {
    return this.#stdout;
  }
  get port(): number {
    return Number(/http:\/\/localhost:(\d+)/.exec(this.#stdout)?.[1]);
  }
  get client(): Client {
    return new Client(`http://localhost:${this.port}`);
  }

  async kill(signal: NodeJS.Signals): Promise<Exit> {
    this.#child.kill(signal);
    return await this.exit;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
  }
}
