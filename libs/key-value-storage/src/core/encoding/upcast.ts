/** Upcasts: the conversion of stored data of an older schemaVersion, one version at a time. */
import { isPromise } from '../base/kinds.js';
import { invalidOption } from '../base/options.js';
import { refusedPromise } from '../base/refused-promise.js';

/** `{ 1: v1 => v2, 2: v2 => v3 }`: the key is the version that a step converts. */
export type Upcast = Readonly<Record<number, (older: unknown) => unknown>>;

/** `INVALID_OPTION` unless there is one step for each version below `schemaVersion`. */
export function assertUpcast(owner: string, schemaVersion: number, upcast: Upcast): void {
  const steps = Object.keys(upcast);
  const needed = Array.from({ length: schemaVersion - 1 }, (_, index) => String(index + 1));
  const missing = needed.filter((step) => typeof upcast[Number(step)] !== 'function');
  if (missing.length > 0)
    throw invalidOption(
      `${owner}: schemaVersion ${schemaVersion} needs a function upcast for version ${missing.join(', ')}; got ${steps.join(', ') || 'none'}.`,
    );
  const extra = steps.filter((step) => !needed.includes(step));
  if (extra.length > 0)
    throw invalidOption(
      `${owner}: upcast from version ${extra.join(', ')} goes beyond schemaVersion ${schemaVersion}.`,
    );
}

/** Converts data of version `from` to `schemaVersion`. An asynchronous step is `INVALID_OPTION`. */
export function upcastFrom(from: number, schemaVersion: number, upcast: Upcast, older: unknown): unknown {
  let data = older;
  for (let version = from; version < schemaVersion; version += 1) {
    data = (upcast[version] as Upcast[number])(data);
    if (isPromise(data)) throw refusedPromise(`upcast from version ${version}`, data);
  }
  return data;
}
