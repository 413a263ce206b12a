/**
 * The one list every suite runs over: each provider and each wrapper. A new provider needs one entry here, and has proven itself when
 * `npm run contract -- <its name>` is green.
 */
import { MemoryProvider } from '@kvent/key-value-storage';
import type { ProviderUnderTest } from '@kvent/key-value-storage/testing';

export interface ListedProvider extends ProviderUnderTest {
  /** What `npm run contract -- <name>` and KVENT_PROVIDER call it. */
  readonly name: string;
}

const all: readonly ListedProvider[] = [{ name: 'memory', create: ({ clock }) => new MemoryProvider({ clock }) }];

/** Those that this run is about: all, or what KVENT_PROVIDER names, separated by commas. */
export const providers: readonly ListedProvider[] = chosen(process.env['KVENT_PROVIDER']);

function chosen(names: string | undefined): readonly ListedProvider[] {
  if (names === undefined || names === '') return all;
  return names.split(',').map((name) => {
    const found = all.find((provider) => provider.name === name.trim());
    if (found === undefined)
      throw new Error(`There is no provider '${name}' in test/providers.ts; there are ${all.map((each) => each.name).join(', ')}.`);
    return found;
  });
}
