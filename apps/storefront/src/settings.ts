/** Environment variables and arguments, checked once. A misspelt one is an error, not a default. */
import type { HttpFramework } from './http/adapter.js';
import { slowCardMs } from './orders/bank.js';
import { SetupError } from './setup-error.js';

export interface Settings {
  readonly port: number;
  /** `HOST`: the address it listens on. Other machines reach it only where this is set. */
  readonly host: string;
  /** `STOREFRONT_HTTP`: the framework below Nest. */
  readonly http: HttpFramework;
  /** With `STOREFRONT_AUTH=keys`: `STOREFRONT_ADMIN_KEY`, the key of the administrator. */
  readonly adminKey: string | undefined;
  /** `STOREFRONT_STORAGE`; see `storage.ts`. */
  readonly storage: string | undefined;
  /** `STOREFRONT_BANK=unreliable`: of three calls, one loses its request and one its response. */
  readonly bank: 'reliable' | 'unreliable';
  /** `STOREFRONT_SLOW_CARD_MS`: the duration of a call with a slow card. */
  readonly slowCardMs: number;
  /** `STOREFRONT_MAILS`: the folder of the mails to customers; `undefined`: none are sent. */
  readonly mails: string | undefined;
  /** `--fresh`: deletes the demo data first. */
  readonly fresh: boolean;
  /** `LOG=all`: all log levels of Nest. */
  readonly logAll: boolean;
}

export function settingsFrom(
  environment: Readonly<Record<string, string | undefined>>,
  args: readonly string[],
): Settings {
  const unknown = args.find((arg) => arg !== '--fresh');
  if (unknown !== undefined) throw new SetupError(`The only argument is --fresh; got ${unknown}.`);
  const {
    PORT: port,
    HOST: host,
    STOREFRONT_HTTP: http,
    STOREFRONT_AUTH: auth,
    STOREFRONT_ADMIN_KEY: adminKey,
    STOREFRONT_STORAGE: storage,
    STOREFRONT_BANK: bank,
    STOREFRONT_SLOW_CARD_MS: slow,
    STOREFRONT_MAILS: mails,
    LOG: log,
  } = environment;
  if (log !== undefined && log !== '' && log !== 'all')
    throw new SetupError(`LOG must be "all" or not set; got "${log}".`);
  if (bank !== undefined && bank !== '' && bank !== 'unreliable')
    throw new SetupError(`STOREFRONT_BANK must be "unreliable" or not set; got "${bank}".`);
  if (http !== undefined && http !== '' && http !== 'express' && http !== 'fastify')
    throw new SetupError(`STOREFRONT_HTTP must be "express", "fastify" or not set; got "${http}".`);
  return {
    port: portFrom(port),
    host: hostFrom(host),
    http: http === 'fastify' ? http : 'express',
    adminKey: adminKeyFrom(auth, adminKey),
    storage,
    bank: bank === 'unreliable' ? bank : 'reliable',
    slowCardMs: slowCardMsFrom(slow),
    mails: mails === '' ? undefined : mails,
    fresh: args.includes('--fresh'),
    logAll: log === 'all',
  };
}

function slowCardMsFrom(setting: string | undefined): number {
  if (setting === undefined || setting === '') return slowCardMs;
  if (/^\d{1,7}$/.test(setting) && Number(setting) <= 3_600_000) return Number(setting);
  throw new SetupError(
    `STOREFRONT_SLOW_CARD_MS must be a number of milliseconds from 0 to 3600000 (an hour); got "${setting}".`,
  );
}

function hostFrom(setting: string | undefined): string {
  if (setting === undefined || setting === '') return '127.0.0.1';
  if (/^[\w.:-]+$/.test(setting)) return setting;
  throw new SetupError(`HOST must be an address or a name of this machine; got "${setting}".`);
}

const adminKeyLengthMin = 20;

function adminKeyFrom(auth: string | undefined, key: string | undefined): string | undefined {
  if (auth === undefined || auth === '') return undefined;
  if (auth !== 'keys') throw new SetupError(`STOREFRONT_AUTH must be "keys" or not set; got "${auth}".`);
  if (key !== undefined && key.length >= adminKeyLengthMin) return key;
  throw new SetupError(
    `STOREFRONT_AUTH=keys needs STOREFRONT_ADMIN_KEY, a secret of at least ${adminKeyLengthMin} characters: openssl rand -hex 32`,
  );
}

function portFrom(setting: string | undefined): number {
  if (setting === undefined || setting === '') return 3000;
  if (/^\d{1,5}$/.test(setting) && Number(setting) < 2 ** 16) return Number(setting);
  throw new SetupError(`PORT must be a number from 0 (any free port) to 65535; got "${setting}".`);
}
