/** Asks the shop over real HTTP. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The JSON of the body; undefined where there is none. */
  readonly body: unknown;
}
type Headed = Readonly<Record<string, string>>;

export class Client {
  readonly #address: string;
  readonly #headers: Headed;

  constructor(address: string, headers: Headed = {}) {
    this.#address = address;
    this.#headers = headers;
  }

  /** The same shop, as somebody of this tenant. */
  as(tenant: string): Client {
    return new Client(this.#address, { ...this.#headers, 'X-Tenant-Id': tenant });
  }

  get(path: string, headers?: Headed): Promise<Answer> {
    return this.send('GET', path, undefined, headers);
  }
  post(path: string, body?: unknown, headers?: Headed): Promise<Answer> {
    return this.send('POST', path, body, headers);
  }
  put(path: string, body: unknown, headers?: Headed): Promise<Answer> {
    return this.send('PUT', path, body, headers);
  }
  delete(path: string, headers?: Headed): Promise<Answer> {
    return this.send('DELETE', path, undefined, headers);
  }

  async send(method: string, path: string, body?: unknown, headers: Headed = {}): Promise<Answer> {
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
  const isJson = headers.get('content-type')?.includes('json') === true && text !== '';
  return { status, headers, text, body: isJson ? (JSON.parse(text) as unknown) : undefined };
}

/** The ETag as it was sent, quotes included. */
export function etagOf({ headers }: Answer): string {
  const etag = headers.get('etag');
  if (etag === null) throw new Error('The answer has no ETag.');
  return etag;
}
