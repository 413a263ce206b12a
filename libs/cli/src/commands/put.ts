/** `kvent put`: writes one value. */
import { text as textOfStream } from 'node:stream/consumers';
import {
  encodeValue,
  parseStored,
  reviveFrozen,
  untilAborted,
  type Row,
  type TimeToLive,
} from '@kvent/key-value-storage/internal/rows';
import { fromArgument, UsageError } from '../input/usage-error.js';
import { dataLine, type Report } from '../output/report.js';
import { assertWrite, withStorage, type CommandContext } from './command.js';
import { commitOne } from './commit-one.js';
import { placeJson, valueAddress, type ValueOptions } from './one-value.js';

interface Options extends ValueOptions {
  readonly value: string;
  readonly write?: boolean;
  readonly ifMatch?: string;
  readonly ifAbsent?: boolean;
  readonly ttl?: number | 'never';
  readonly schemaVersion?: number;
}

export async function put(options: Options, context: CommandContext): Promise<Report> {
  assertWrite('put', options);
  const text =
    options.value === '-'
      ? await untilAborted('The reading of stdin', 'none', context.signal, textOfStream(process.stdin))
      : options.value;
  const value = valueFrom(text);
  return await withStorage('existing', options, context, async (provider) => {
    const address = await valueAddress(provider, options);
    const {
      rows: [before],
    } = await provider.read([address], { signal: context.signal });
    const schemaVersion = options.schemaVersion ?? schemaVersionOf(before);
    const encoded = fromArgument('The value', () =>
      encodeValue(value, () => options.state, { schemaVersion }),
    );
    const ttl: TimeToLive = options.ttl ?? { keepElse: 'never' };
    const etag = await commitOne(provider, address, {
      change: { kind: 'put', address, value: { kind: 'json', text: encoded.text }, ttl },
      before,
      options,
      signal: context.signal,
    });
    return {
      json: { ...placeJson('put', provider, address, options), etag, created: before === undefined },
      text: [
        dataLine(
          `${before === undefined ? 'Added' : 'Replaced'} ${options.state} ${options.key} in '${address.database}': etag ${etag}`,
        ),
      ],
    };
  });
}

function valueFrom(text: string): unknown {
  try {
    return reviveFrozen(JSON.parse(text), true).value;
  } catch (error) {
    throw new UsageError(
      `The value must be JSON, for example '{"title":"Mug"}'; a text needs its quotes: '"Mug"'. ${error instanceof Error ? error.message : ''}`.trimEnd(),
      error,
    );
  }
}

/** Only JSON can be replaced: a number or bytes belong to another kind of state. */
function schemaVersionOf(before: Row | undefined): number {
  if (before === undefined) return 1;
  if (before.value.kind === 'json') return parseStored(before.value.text).schemaVersion;
  throw new UsageError(`The existing value is ${before.value.kind}; put replaces JSON only.`);
}
