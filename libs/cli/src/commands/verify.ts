/** `kvent verify`: reads every row of a storage, and reports the damage. */
import { headIn, numbersIn } from '@kvent/event-store/internal';
import { faultOfRow, isStorageError, placeOf, type RawRow } from '@kvent/key-value-storage/internal/rows';
import { chosenDatabases, type TenantOptions } from '../input/database.js';
import { counted, headedTable, type Line, type Report } from '../output/report.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
}

interface Damage {
  readonly place: string;
  readonly what: string;
}
interface Verified {
  readonly database: string;
  readonly rows: number;
  readonly damage: readonly Damage[];
}

const progressEvery = 1_000;

/** A directory whose files are damaged is not opened: its error names the first place. */
export async function verify(options: Options, context: CommandContext): Promise<Report> {
  return await withStorage('source', options, context, async ({ name, administration }) => {
    const databases: Verified[] = [];
    for (const database of await chosenDatabases({ name, administration }, options))
      databases.push(await verifyDatabase(database, administration.export(database), context));
    const damage = databases.flatMap((each) => each.damage);
    const rows = databases.reduce((sum, each) => sum + each.rows, 0);
    const total: Line =
      damage.length === 0
        ? { text: `${name} is sound: ${counted(rows, 'row', 'rows')} read.`, style: 'good' }
        : { text: `${name} is damaged at ${counted(damage.length, 'place', 'places')}.`, style: 'bad' };
    return {
      json: { command: 'verify', storage: name, databases, rows, sound: damage.length === 0 },
      text: [
        ...headedTable(
          ['database', 'rows', 'damage'],
          databases.map((each) => [each.database, each.rows, each.damage.length]),
        ),
        ...damage.map(({ place, what }) => `  ${place}: ${what}`),
        total,
      ],
      failed: damage.length > 0,
    };
  });
}

async function verifyDatabase(
  database: string,
  rows: AsyncIterable<RawRow>,
  { progress }: CommandContext,
): Promise<Verified> {
  const damage: Damage[] = [];
  const streams = new StreamCounts(database);
  let count = 0;
  for await (const raw of rows) {
    count += 1;
    const fault = faultOfRow(raw);
    if (fault === undefined) streams.add(raw);
    else damage.push({ place: placeOf(database, raw), what: fault });
    if (count % progressEvery !== 0) continue;
    progress.show({ what: `reading ${database}`, rows: count, total: undefined });
  }
  return { database, rows: count, damage: [...damage, ...streams.damage()] };
}

/** Compares the events of each stream with its head: versions 1, 2, 3 … up to that of the head. */
class StreamCounts {
  readonly #database: string;
  readonly #streams = new Map<string, { events: number; last: number; head?: RawRow }>();

  constructor(database: string) {
    this.#database = database;
  }

  add(raw: RawRow): void {
    const [, kind, type] = /^(event|head):(.*)$/s.exec(raw.container) ?? [];
    if (kind === undefined) return;
    const name = `${type}\0${kind === 'head' ? raw.key : raw.entity}`;
    let stream = this.#streams.get(name);
    if (stream === undefined) this.#streams.set(name, (stream = { events: 0, last: 0 }));
    if (kind === 'head') stream.head = raw;
    else {
      stream.events += 1;
      stream.last = numbersIn(raw.key)?.[0] ?? Number.NaN;
    }
  }

  damage(): readonly Damage[] {
    return Array.from(this.#streams, ([name, { events, last, head }]) => {
      const [type, id] = name.split('\0');
      const place = `${this.#database} / stream ${type} ${id}`;
      if (head === undefined) return { place, what: 'its head is missing' };
      const read = this.#headOf(head);
      if (read === undefined) return { place, what: 'its head is damaged' };
      const { kind, version } = read;
      // the rest of an interrupted delete, which a later delete removes
      if (kind === 'deleted' || (events === version && last === version)) return undefined;
      return {
        place,
        what: `its head is at version ${version}, and it has ${events} events, the last at ${last}`,
      };
    }).filter((each) => each !== undefined);
  }

  /** `undefined` if it is damaged. */
  #headOf(raw: RawRow): ReturnType<typeof headIn> | undefined {
    try {
      return headIn({ database: this.#database, ...raw }, raw.row);
    } catch (error) {
      if (isStorageError(error, 'STORAGE_CORRUPT')) return undefined;
      throw error;
    }
  }
}
