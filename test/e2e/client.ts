/** A client of the shop over real HTTP. */
import { until } from '../postgres/until.js';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed body; undefined if it is not JSON. */
  readonly body: unknown;
}
type HeaderFields = Readonly<Record<string, string>>;

export class Client {
  readonly #address: string;
  readonly #headers: HeaderFields;

  constructor(address: string, headers: HeaderFields = {}) {
    this.#address = address;
    this.#headers = headers;
  }

  /** A client of the same shop with the header of this tenant. */
  as(tenant: string): Client {
    return this.with({ 'X-Tenant-Id': tenant });
  }

  /** A client of the same shop with more headers. */
  with(headers: HeaderFields): Client {
    return new Client(this.#address, { ...this.#headers, ...headers });
  }

  get(path: string, headers?: HeaderFields): Promise<Answer> {
    return this.send('GET', path, undefined, headers);
  }
  post(path: string, body?: unknown, headers?: HeaderFields): Promise<Answer> {
    return this.send('POST', path, body, headers);
  }
  put(path: string, body: unknown, headers?: HeaderFields): Promise<Answer> {
    return this.send('PUT', path, body, headers);
  }
  delete(path: string, headers?: HeaderFields): Promise<Answer> {
    return this.send('DELETE', path, undefined, headers);
  }

  /** A response whose body is read as it comes. */
  open(path: string, { headers = {}, signal }: { headers?: HeaderFields; signal?: AbortSignal }) {
    return fetch(this.#address + path, {
      headers: { ...this.#headers, ...headers },
      ...(signal !== undefined && { signal }),
    });
  }

  /** A request whose body is sent as it comes. */
  async upload(
    path: string,
    body: ReadableStream<Uint8Array>,
    { headers = {}, signal }: { headers?: HeaderFields; signal: AbortSignal },
  ): Promise<Answer> {
    const init = { method: 'POST', body, signal, duplex: 'half', headers: { ...this.#headers, ...headers } };
    return await answerOf(await fetch(this.#address + path, init as RequestInit));
  }

  async send(method: string, path: string, body?: unknown, headers: HeaderFields = {}): Promise<Answer> {
    const json = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(this.#address + path, {
      method,
      body: text,
      headers: { ...this.#headers, ...json, ...headers },
    });
    return await answerOf(response);
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const { status, headers } = response;
  const text = await response.text();
  const isJson = /[/+]json\b/.test(headers.get('content-type') ?? '') && text !== '';
  return { status, headers, text, body: isJson ? (JSON.parse(text) as unknown) : undefined };
}

/** Reads what follows the writes, and waits for it also on a machine that stands still. */
export async function readCaughtUp(client: Client, path: string, headers: HeaderFields): Promise<Answer> {
  let answer: Answer | undefined;
  await until(`${path} has caught up`, async () => (answer = await client.get(path, headers)).status !== 503);
  return answer as Answer;
}

/** The ETag header, with its quotes. */
export function etagOf({ headers }: Answer): string {
  const etag = headers.get('etag');
  if (etag === null) throw new Error('The answer has no ETag.');
  return etag;
}

/** The path and query of a relative reference in an answer to `path`. */
export function resolve(reference: string, path: string): string {
  const { pathname, search } = new URL(reference, new URL(path, 'http://shop'));
  return pathname + search;
}
