/** The first connection of a provider: a server that starts after the application is awaited. */
import { setTimeout } from 'node:timers/promises';
import { parsePostgresUrl } from './postgres-url.js';
import type { PostgresConnection } from './postgres-options.js';

interface ConnectOptions {
  readonly connection: PostgresConnection;
  readonly connectAttempts: number;
  readonly connectDelayMs: number;
  readonly warn: (message: string) => void;
}

/**
 * The server is absent or starts (57P03), or its name is not known yet. Anything else, a wrong
 * password for instance, stays as it is.
 */
const mayPass: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  '57P03',
]);

/** Rejects with the driver's error of the last attempt. The first failed attempt is a warning. */
export async function connectWithAttempts(
  connect: () => Promise<void>,
  { connection, connectAttempts, connectDelayMs, warn }: ConnectOptions,
  name: string,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await connect();
      return;
    } catch (error) {
      const { code } = error as { readonly code?: string };
      if (attempt >= connectAttempts || !mayPass.has(code)) throw error;
      if (attempt === 1)
        warn(
          `${name}: no connection to ${serverOf(connection)} (${code}); ${connectAttempts - 1} more attempts, every ${connectDelayMs} ms.`,
        );
      await setTimeout(connectDelayMs);
    }
  }
}

/**
 * Host, port and database for a message. Only plain names: a mistyped address may have its password
 * anywhere.
 */
export function serverOf({ url, host, port, database }: PostgresConnection): string {
  const parsed = url === undefined ? undefined : parsePostgresUrl(url);
  const shownHost = plain(parsed === undefined ? host : (parsed.searchParams.get('host') ?? parsed.hostname));
  const shownPort = parsed === undefined ? port : parsed.port;
  const shownDatabase = plain(parsed === undefined ? database : parsed.pathname.slice(1));
  return [
    shownHost ?? 'the server',
    shownPort === undefined || shownPort === '' ? '' : `:${shownPort}`,
    shownDatabase === undefined ? '' : `, database ${shownDatabase}`,
  ].join('');
}

const plain = (given: string | undefined): string | undefined =>
  given !== undefined && /^[\w./:[\]-]+$/.test(given) ? given : undefined;
