/** `kvent rm`: removes one value. */
import { dataLine, type Report } from '../output/report.js';
import { assertWrite, withStorage, type CommandContext } from './command.js';
import { commitOne } from './commit-one.js';
import { existingRow, placeJson, valueAddress, type ValueOptions } from './one-value.js';

interface Options extends ValueOptions {
  readonly write?: boolean;
  readonly ifMatch?: string;
}

export async function rm(options: Options, context: CommandContext): Promise<Report> {
  assertWrite('rm', options);
  return await withStorage('existing', options, context, async (provider) => {
    const address = await valueAddress(provider, options);
    const before = await existingRow(provider, address, options, context.signal);
    const change = { kind: 'delete', address } as const;
    await commitOne(provider, address, { change, before, options, signal: context.signal });
    return {
      json: { ...placeJson('rm', provider, address, options), etag: before.version },
      text: [
        dataLine(
          `Removed ${options.state} ${options.key} from '${address.database}': it had the etag ${before.version}`,
        ),
      ],
    };
  });
}
