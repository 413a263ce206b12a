/** LevelDB, native, in a format of its own: with `sync` a put is answered once it is on disk. */
import { ClassicLevel } from 'classic-level';
import type { Contender, Opening, Place } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openLevelSync: Opening = async (place) => await openLevel('classic-level, sync', place, true);
export const openLevelUnsynced: Opening = async (place) => await openLevel('classic-level', place, false);

async function openLevel(
  name: string,
  { keys, directory, filled }: Place,
  sync: boolean,
): Promise<Contender> {
  const level = new ClassicLevel<string, Product>(directory, { valueEncoding: 'json' });
  await level.open();
  if (!filled) await level.batch(keys.map((key) => ({ type: 'put', key, value: product })));
  const [hot] = keys as readonly [string];
  return {
    name,
    traits: {
      survives: sync ? 'power loss' : 'kill',
      comparesAndSets: false,
      answers: 'fresh copy',
      note: 'native; not readable as text',
    },
    verbs: {
      get: (call) => level.get(keyAt(keys, call)),
      set: (call) => level.put(keyAt(keys, call), product, { sync }),
      update: async () => {
        const value = (await level.get(hot)) as Product;
        await level.put(hot, { ...value, stock: value.stock + 1 }, { sync });
      },
    },
    close: () => level.close(),
  };
}
