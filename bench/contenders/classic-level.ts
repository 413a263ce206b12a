/** LevelDB: native code, a binary format. With `sync`, a put returns when it is on the disk. */
import { ClassicLevel } from 'classic-level';
import type { Contender, Opening, Setup } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openLevelSync: Opening = async (setup) => await openLevel('classic-level, sync', setup, true);
export const openLevelUnsynced: Opening = async (setup) => await openLevel('classic-level', setup, false);

async function openLevel(
  name: string,
  { keys, directory, filled }: Setup,
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
      returns: 'fresh copy',
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
