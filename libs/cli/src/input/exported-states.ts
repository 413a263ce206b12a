/** The states that a module of the application exports: `--module ./dist/states.js`. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { statesIn } from '@kvent/key-value-storage/internal';
import { UsageError } from './usage-error.js';

export type ExportedState = ReturnType<typeof statesIn>[number];

/** `UsageError` where it cannot be loaded. Node would wait for the writer of a FIFO. */
export async function exportedStates(path: string): Promise<readonly ExportedState[]> {
  try {
    if ((await stat(path).catch(() => undefined))?.isFile() === false) throw new Error('it is not a file');
    return statesIn((await import(pathToFileURL(resolve(path)).href)) as object);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`The module ${path} cannot be loaded: ${why}`, error);
  }
}

/** Those of the states that have a row in a database. */
export function statesWithRows(
  states: readonly ExportedState[],
  spaces: readonly { readonly container: string; readonly entity: string }[],
): readonly ExportedState[] {
  return states.filter((state) =>
    spaces.some(({ container, entity }) => container === state.container && entity === state.entity),
  );
}
