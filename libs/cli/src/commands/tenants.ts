/** `kvent tenants`: lists the tenants that hold data. */
import { sharedDatabase, tenantIn } from '@kvent/key-value-storage/internal/rows';
import { counted, dataLine, type Report } from '../output/report.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';

type Options = StorageOptions & { readonly storage: string };

export async function tenants(options: Options, context: CommandContext): Promise<Report> {
  return await withStorage('source', options, context, async ({ name, administration }) => {
    const databases = await administration.databases();
    const names = databases.map(tenantIn).filter((tenant) => tenant !== undefined);
    const shared = databases.includes(sharedDatabase);
    const sharedData = shared ? 'and shared data' : 'and no shared data';
    return {
      json: { command: 'tenants', storage: name, tenants: names, shared },
      text: [
        ...names.map(dataLine),
        `${name} has ${counted(names.length, 'tenant', 'tenants')} ${sharedData}.`,
      ],
    };
  });
}
