/**
 * The network between an application and its server, as a test wants it: everything passes, until
 * it is told otherwise.
 *
 *   await using proxy = await Proxy.before(server); proxy.url(server.url('shop')); // the same
 *   database, through the proxy proxy.cut(); // every connection breaks now await proxy.refuse();
 *   // nobody can connect; what is connected stays proxy.hold(); // a black hole: connections are
 *   accepted, nothing arrives, nothing breaks proxy.forget(); // the same, for ever, for the
 *   connections that there are: what a firewall does to idle ones await proxy.pass(); // as in the
 *   beginning; what was held arrives late, as it does in a network proxy.retarget(other); // new
 *   connections go there: a failover await proxy.endNextAtOnce(); // the next session is ended as
 *   it begins, in one breath: what a server does that stops just then await
 *   proxy.loseAnswer('key-17'); // done when the server has done what mentions this text, and its
 *   answer was swallowed with the connection await proxy.loseRequest('key-18'); // … or when it was
 *   swallowed on its way there
 */
import { createServer, connect, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.js';

interface Target {
  readonly port: number;
}

/** What is to be lost: the next thing a client says that holds these bytes, or the answer to it. */
interface Loss {
  readonly what: 'request' | 'answer';
  readonly marker: Buffer;
  readonly done: () => void;
}

/** ReadyForQuery, outside a transaction: what was asked is done, and committed if it wrote. */
const done = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
/** ErrorResponse: what a session hears that is ended from outside. */
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
        // somebody else was faster
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

  /** How many connections there are. */
  get connections(): number {
    return this.#links.size;
  }

  cut(): void {
    for (const link of this.#links) link.cut();
  }

  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.close(); // its callback would wait for the connections, which stay
    await new Promise((resolve) => setImmediate(resolve)); // by then nobody listens
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

  /** Connections that exist stay where they are. */
  retarget(target: Target): void {
    this.#target = target;
  }

  /**
   * Fulfilled when the answer to the next request that mentions `text` is lost: what was asked is
   * done, outside any transaction, and nobody is told.
   */
  loseAnswer(text: string): Promise<void> {
    return this.#lose('answer', text);
  }

  /** Fulfilled when the next request that mentions `text` is lost: the server never sees it. */
  loseRequest(text: string): Promise<void> {
    return this.#lose('request', text);
  }

  /**
   * Fulfilled when it has happened: the client hears in one chunk that its session has begun, and
   * that it is ended.
   */
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
  /**
   * What the server said while its answer is being lost, and may have to be passed on after all.
   */
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

  /** When the session has begun. */
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
   * Breaks it on both sides. (Not by `resetAndDestroy`: a socket that is ended or broken meanwhile
   * keeps its handle for ever then.)
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

/** A message of the protocol: fields, each with the letter that says what it is. */
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
