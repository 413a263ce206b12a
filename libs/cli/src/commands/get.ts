/** `kvent get`: prints one value. */
import { dataLine, table, timeText, type Report } from '../output/report.js';
import { valueJson } from '../output/stored-value.js';
import { keyText } from '../input/key.js';
import { withStorage, type CommandContext } from './command.js';
import { existingRow, placeJson, valueAddress, type ValueOptions } from './one-value.js';

export async function get(options: ValueOptions, context: CommandContext): Promise<Report> {
  return await withStorage('source', options, context, async (provider) => {
    const address = await valueAddress(provider, options);
    const row = await existingRow(provider, address, options, context.signal);
    const { schemaVersion, value } = valueJson(row);
    return {
      json: {
        ...placeJson('get', provider, address, options),
        etag: row.version,
        updatedAt: timeText(row.updatedAt),
        expiresAt: row.expiresAt === undefined ? null : timeText(row.expiresAt),
        schemaVersion,
        value,
      },
      text: [
        ...table([
          ['key', keyText(address.key)],
          ['etag', row.version],
          ['updated', timeText(row.updatedAt)],
          ['expires', timeText(row.expiresAt)],
          ['schema version', String(schemaVersion)],
        ]),
        ...JSON.stringify(value, undefined, 2).split('\n').map(dataLine),
      ],
    };
  });
}
