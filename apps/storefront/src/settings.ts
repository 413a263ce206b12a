/** Environment variables and arguments, checked once. A misspelt one is an error, not a default. */
import { slowCardMs } from './orders/bank.js';
import { SetupError } from './setup-error.js';

export interface Settings {
  readonly port: number;
  /** `STOREFRONT_STORAGE`; see `storage.ts`. */
  readonly storage: string | undefined;
  /** `STOREFRONT_BANK=unreliable`: of three calls, one loses its request and one its response. */
  readonly bank: 'reliable' | 'unreliable';
  /** `STOREFRONT_SLOW_CARD_MS`: the duration of a call with a slow card. */
  readonly slowCardMs: number;
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
  if (unknown !== undefined) throw new SetupError(`There is no argument ${unknown}; there is --fresh.`);
  const {
    PORT: port,
    STOREFRONT_STORAGE: storage,
    STOREFRONT_BANK: bank,
    STOREFRONT_SLOW_CARD_MS: slow,
    LOG: log,
  } = environment;
  if (log !== undefined && log !== '' && log !== 'all')
    throw new SetupError(`LOG is "all" or not set; it is "${log}".`);
  if (bank !== undefined && bank !== '' && bank !== 'unreliable')
    throw new SetupError(`STOREFRONT_BANK is "unreliable" or not set; it is "${bank}".`);
  return {
    port: portFrom(port),
    storage,
    bank: bank === 'unreliable' ? bank : 'reliable',
    slowCardMs: slowCardMsFrom(slow),
    fresh: args.includes('--fresh'),
    logAll: log === 'all',
  };
}

function slowCardMsFrom(given: string | undefined): number {
  if (given === undefined || given === '') return slowCardMs;
  if (/^\d{1,7}$/.test(given) && Number(given) <= 3_600_000) return Number(given);
  throw new SetupError(
    `STOREFRONT_SLOW_CARD_MS is a number of milliseconds from 0 to 3600000 (an hour); it is "${given}".`,
  );
}

function portFrom(given: string | undefined): number {
  if (given === undefined || given === '') return 3000;
  if (/^\d{1,5}$/.test(given) && Number(given) < 2 ** 16) return Number(given);
  throw new SetupError(`PORT is a number from 0 (any free port) to 65535; it is "${given}".`);
}
