import { lstatSync, type Stats } from 'node:fs';
import { looksLikeAddress } from '@kvent/key-value-storage/internal/rows';
import { UsageError } from './usage-error.js';

/**
 * Checks a file that a command creates, before it reads anything. `UsageError` if the name looks
 * like an address, which may contain a password; if the file exists, without `replace`; and if it
 * is a link, a directory, a FIFO or a device, which a rename would replace by a file.
 */
export function assertTargetFile(path: string, { replace = false }: { readonly replace?: boolean }): void {
  if (looksLikeAddress(path))
    throw new UsageError(
      'The name of a file must not contain an address, or start or end with a quote or blank.',
    );
  const existing = found(path);
  if (existing === undefined) return;
  if (!existing.isFile())
    throw new UsageError(
      `${path} must be a plain file to be replaced, not a link, a directory, a FIFO or a device.`,
    );
  if (!replace) throw new UsageError(`${path} exists. To overwrite it: --replace.`);
}

/** `undefined` also where it cannot be looked at: creating the file fails with the reason. */
function found(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
