/**
 * A TCP proxy between an application and its server, which simulates faults of the network.
 *
 * ```ts
 * await using proxy = await Proxy.before(server);
 * proxy.url(server.url('shop')); // the same database, through the proxy
 * proxy.cut(); // breaks every connection
 * await proxy.refuse(); // refuses new connections; existing ones stay
 * proxy.hold(); // accepts connections, but forwards nothing
 * proxy.forget(); // forwards nothing on the existing connections, permanently
 * await proxy.pass(); // forwards again, also what was held
 * proxy.retarget(other); // connects new connections to another server
 * await proxy.endNextAtOnce(); // resolves after the next session was ended as it began
 * await proxy.loseAnswer('key-17'); // resolves after a request with this text was executed and its answer was lost
 * await proxy.loseRequest('key-18'); // resolves after a request with this text was lost
 * ```
 */
import { createServer, connect, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.js';

interface Target {
  readonly port: number;
}

/** What to lose: the next request with these bytes, or its answer. */
interface Loss {
  readonly what: 'request' | 'answer';
  readonly marker: Buffer;
  readonly done: () => void;
}

/** ReadyForQuery outside a transaction: the request is executed and committed. */
const done = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
/** ErrorResponse: the message to a session that an administrator ends. */
const ended = errorResponse({
  S: 'FATAL',
  V: 'FATAL',
  C: '57P01',
  M: 'terminating connection due to administrator command',
});
const stillInTransaction = [0x54, 0x45].map((status) => Buffer.from([0x5a, 0, 0, 0, 5, status]));

export class Proxy implements AsyncDisposable {
  readonly port: number;
  readonly #links = new Set<Link>();
  readonly #forgotten = new WeakSet<Link>();
  #target: Target;
  #server: Server | undefined;
  #holding = false;
  #losses: readonly Loss[] = [];
  #endNext: (() => void) | undefined;

  private constructor(target: Target, port: number) {
    this.#target = target;
    this.port = port;
  }

  static async before(target: Target): Promise<Proxy> {
    for (;;) {
      const proxy = new Proxy(target, await freePort());
      try {
        await proxy.#listen();
        return proxy;
      } catch (error) {
        // Another process has taken the port.
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      }
    }
  }

  /** The same address, through the proxy. */
  url(url: string): string {
    const changed = new URL(url);
    changed.port = String(this.port);
    return changed.href;
  }

  /** The number of connections. */
  get connections(): number {
    return this.#links.size;
  }

  cut(): void {
    for (const link of this.#links) link.cut();
  }

  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.close(); // not awaited: it would wait for the existing connections
    await new Promise((resolve) => setImmediate(resolve)); // then it no longer listens
  }

  hold(): void {
    this.#holding = true;
    for (const link of this.#links) link.hold();
  }

  forget(): void {
    for (const link of this.#links) {
      link.hold();
      this.#forgotten.add(link);
    }
  }

  async pass(): Promise<void> {
    this.#holding = false;
    for (const link of this.#links) if (!this.#forgotten.has(link)) link.pass(this.#target);
    if (this.#server === undefined) await this.#listen();
  }

  /** Existing connections stay with their server. */
  retarget(target: Target): void {
    this.#target = target;
  }

  /**
   * Resolves after the next request with `text` was executed, outside a transaction, and its answer
   * was lost.
   */
  loseAnswer(text: string): Promise<void> {
    return this.#lose('answer', text);
  }

  /** Resolves after the next request with `text` was lost before it reached the server. */
  loseRequest(text: string): Promise<void> {
    return this.#lose('request', text);
  }

  /** Resolves after the next client got the begin and the end of its session in one chunk. */
  endNextAtOnce(): Promise<void> {
    return new Promise((resolve) => {
      this.#endNext = resolve;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse();
    this.cut();
  }

  #lose(what: Loss['what'], text: string): Promise<void> {
    return new Promise((resolve) => {
      this.#losses = [...this.#losses, { what, marker: Buffer.from(text), done: resolve }];
    });
  }

  async #listen(): Promise<void> {
    const server = createServer((client) => {
      const link = new Link(client, (bytes) => this.#lossIn(bytes));
      this.#links.add(link);
      if (this.#endNext !== undefined) link.endAtOnce(this.#endNext);
      this.#endNext = undefined;
      link.onceOver(() => this.#links.delete(link));
      if (this.#holding) link.hold();
      else link.pass(this.#target);
    });
    await new Promise<void>((resolve, reject) =>
      server.once('error', reject).listen(this.port, '127.0.0.1', resolve),
    );
    this.#server = server;
  }

  #lossIn(bytes: Buffer): Loss | undefined {
    const loss = this.#losses.find(({ marker }) => bytes.includes(marker));
    this.#losses = this.#losses.filter((each) => each !== loss);
    return loss;
  }
}

/** One connection through the proxy. */
class Link {
  readonly #client: Socket;
  readonly #lossIn: (bytes: Buffer) => Loss | undefined;
  #server: Socket | undefined;
  #losing: Loss | undefined;
  #endAtOnce: (() => void) | undefined;
  /** The part of an answer that may be lost, or forwarded later. */
  #kept: Buffer = Buffer.alloc(0);

  constructor(client: Socket, lossIn: (bytes: Buffer) => Loss | undefined) {
    this.#client = client.setNoDelay(true);
    this.#lossIn = lossIn;
    client.on('error', () => this.cut()).on('data', (bytes: Buffer) => this.#fromClient(bytes));
    client.pause();
  }

  onceOver(what: () => void): void {
    this.#client.once('close', what);
  }

  /** Ends the session as soon as it has begun. */
  endAtOnce(done: () => void): void {
    this.#endAtOnce = done;
  }

  hold(): void {
    this.#client.pause();
    this.#server?.pause();
  }

  pass(target: Target): void {
    this.#server ??= this.#connect(target);
    this.#server.resume();
    this.#client.resume();
  }

  /**
   * Breaks both sides. Not with `resetAndDestroy`, which leaks the handle of a socket that is
   * already ended or broken.
   */
  cut(): void {
    this.#client.destroy();
    this.#server?.destroy();
  }

  #connect({ port }: Target): Socket {
    const server = connect({ host: '127.0.0.1', port, noDelay: true });
    server.on('error', () => this.cut()).on('data', (bytes: Buffer) => this.#fromServer(bytes));
    server.on('end', () => this.#client.end()).on('close', () => this.#client.end());
    this.#client.on('end', () => server.end()).on('close', () => server.end());
    return server;
  }

  #fromClient(bytes: Buffer): void {
    this.#losing ??= this.#lossIn(bytes);
    if (this.#losing?.what === 'request') this.#lost();
    else this.#server?.write(bytes);
  }

  #fromServer(bytes: Buffer): void {
    if (this.#endAtOnce !== undefined && bytes.includes(done)) {
      this.#client.end(Buffer.concat([bytes, ended]), this.#endAtOnce);
      return;
    }
    if (this.#losing === undefined) {
      this.#client.write(bytes);
      return;
    }
    this.#kept = Buffer.concat([this.#kept, bytes]);
    if (this.#kept.includes(done)) this.#lost();
    else if (stillInTransaction.some((answer) => this.#kept.includes(answer))) {
      this.#client.write(this.#kept);
      this.#kept = Buffer.alloc(0);
    }
  }

  #lost(): void {
    this.cut();
    this.#losing?.done();
  }
}

/** An ErrorResponse: fields with their type letters. */
function errorResponse(fields: Readonly<Record<string, string>>): Buffer {
  const body = Buffer.from(
    `${Object.entries(fields)
      .map(([letter, text]) => `${letter}${text}\0`)
      .join('')}\0`,
  );
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
