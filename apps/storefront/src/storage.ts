/** Picks the storage provider. No other file of the shop knows which one it runs on. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { JsonFileProvider, MemoryProvider, type StorageProvider } from '@kvent/key-value-storage';
import { SetupError } from './setup-error.js';

export interface ChosenStorage {
  /** For people: what it is, and what it promises. */
  readonly description: string;
  /** Where it is; `undefined` for memory. */
  readonly directory?: string;
  /** A new provider, not open yet. */
  create(): StorageProvider;
}

export const chosenStorageToken = Symbol('storefront.storage');

/** The shop's own directory: the only one that `--fresh` empties. */
export const ownDirectory = './data/storefront';

/** `memory`, a directory, or `file:` and a directory. Nothing given: `./data/storefront`. */
export function chooseStorage(given: string | undefined): ChosenStorage {
  if (given === 'memory') return { description: 'memory (gone when it stops)', create: () => new MemoryProvider() };
  const directory = directoryFrom(given === undefined || given === '' ? ownDirectory : given);
  return {
    description: `JSON file ${directory} (durable, one process)`,
    directory,
    create: () => new JsonFileProvider({ directory }),
  };
}

export const isOwnDirectory = ({ directory }: ChosenStorage): boolean =>
  directory !== undefined && resolve(directory) === resolve(ownDirectory);

function directoryFrom(given: string): string {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]+):(.*)$/is.exec(given) ?? [];
  if (scheme === undefined) return given;
  // The scheme alone is repeated: the rest may hold a password.
  if (scheme.toLowerCase() !== 'file' || rest === '')
    throw new SetupError(`STOREFRONT_STORAGE is memory, a directory, or file: and a directory; it begins with "${scheme}:".`);
  return rest.startsWith('//') ? localPath(given) : rest;
}

function localPath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new SetupError('STOREFRONT_STORAGE is not the address of a local directory: file:///absolute/path, or file:relative/path.');
  }
}
