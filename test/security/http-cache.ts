/**
 * Shared HTTP caches in front of a server: a small one by the rules of RFC 9111, and Debian's
 * Varnish where it is installed.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../postgres/free-port.js';

export interface RunningCache extends AsyncDisposable {
  readonly address: string;
}
export interface SharedCache {
  readonly name: string;
  /** Opens the cache in front of a server on this machine. */
  open(backendPort: number): Promise<RunningCache>;
}

/**
 * What a cache pays attention to. A correct one honours both; one that ignores one of them shows
 * whether the other is enough.
 */
interface Honours {
  readonly cacheControl: boolean;
  readonly vary: boolean;
}
interface Stored {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  /** The names in `Vary`, and what the request that was stored had there. */
  readonly vary: readonly (readonly [name: string, value: string])[];
}

/**
 * Stores each answer to a GET, as RFC 9111 lets a shared cache do (section 3): not with `no-store`
 * or `private`, not with `Vary: *`; errors too. An answer that says nothing of freshness is fresh
 * for the time of a test (section 4.2.2, heuristic freshness). With `no-cache` it would have to ask
 * again, so this cache does not store it.
 */
export function rfc9111(name: string, honours: Honours): SharedCache {
  return {
    name,
    open: async (backendPort) => {
      const stored = new Map<string, Stored[]>();
      const server = createServer((request, response) => {
        answer(request, backendPort, stored, honours).then(
          ({ status, headers, body }) => {
            const kept = [...headers].filter(
              ([header]) => !['connection', 'content-length', 'transfer-encoding'].includes(header),
            );
            response.writeHead(status, Object.fromEntries(kept)).end(body);
          },
          (error: unknown) => response.writeHead(502).end(String(error)),
        );
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return {
        address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        [Symbol.asyncDispose]: () => closed(server),
      };
    },
  };
}

async function answer(
  request: IncomingMessage,
  backendPort: number,
  stored: Map<string, Stored[]>,
  honours: Honours,
): Promise<Stored> {
  const { method = 'GET', url = '/' } = request;
  const fits = (entry: Stored): boolean =>
    entry.vary.every(([name, value]) => headerOf(request.headers, name) === value);
  const hit = method === 'GET' ? stored.get(url)?.find(fits) : undefined;
  if (hit !== undefined) return hit;
  const headers = Object.entries(request.headers).flatMap(([name, value]) =>
    typeof value === 'string' && !['host', 'connection', 'content-length'].includes(name)
      ? [[name, value] as [string, string]]
      : [],
  );
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const response = await fetch(`http://127.0.0.1:${backendPort}${url}`, {
    method,
    headers,
    ...(body.length > 0 && { body }),
  });
  const vary = honours.vary ? listOf(response.headers.get('vary')) : [];
  const entry: Stored = {
    status: response.status,
    headers: response.headers,
    body: await response.text(),
    vary: vary.map((name) => [name, headerOf(request.headers, name)]),
  };
  const control = honours.cacheControl ? listOf(response.headers.get('cache-control')) : [];
  const storable =
    !control.some((directive) => /^(no-store|private|no-cache)\b/.test(directive)) && !vary.includes('*');
  if (method === 'GET' && storable && entry.status !== 304)
    stored.set(url, [...(stored.get(url) ?? []), entry]);
  return entry;
}

const listOf = (header: string | null): readonly string[] =>
  header === null ? [] : header.split(',').map((part) => part.trim().toLowerCase());

function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : (value ?? '');
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** Varnish with its default rules, on memory. `undefined` where it is not installed. */
export async function varnish(): Promise<SharedCache | undefined> {
  const installed = await promisify(execFile)('varnishd', ['-V']).catch(() => undefined);
  if (installed === undefined) return undefined;
  return {
    name: 'Varnish',
    open: async (backendPort) => {
      const [directory, port] = [await mkdtemp(join(tmpdir(), 'kvent-varnish-')), await freePort()];
      // an hour of freshness for what does not say: no test outlives it
      const args = [
        '-F',
        '-j',
        'none',
        '-n',
        directory,
        '-a',
        `127.0.0.1:${port}`,
        '-b',
        `127.0.0.1:${backendPort}`,
        '-s',
        'malloc,16m',
        '-t',
        '3600',
      ];
      const child = spawn('varnishd', args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let printed = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => (printed += text));
      const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
      const stop = async (): Promise<void> => {
        child.kill('SIGTERM');
        await ended;
        await rm(directory, { recursive: true, force: true });
      };
      try {
        await Promise.race([
          listening(port),
          ended.then(() => Promise.reject(new Error(`Varnish ended at its start: ${printed}`))),
        ]);
      } catch (error) {
        await stop();
        throw error;
      }
      return { address: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
    },
  };
}

/** Resolves once something accepts connections on the port. */
async function listening(port: number): Promise<void> {
  const accepts = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
  while (!(await accepts())) await new Promise((resolve) => setImmediate(resolve));
}
