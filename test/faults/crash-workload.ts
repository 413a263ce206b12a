/**
 * What 64 callers write while their process is killed, and what must be found afterwards. Every
 * value can be computed from its caller and a number, so only the acknowledged numbers are
 * remembered.
 *
 * - Each caller counts on a row of its own by compare-and-set. In the same batch it writes three
 *   rows whose text follows from the number (every fifth time it deletes one of them) and adds 1 to
 *   the sum of its database. The batch must be complete or absent.
 * - Groups of callers count on one row by compare-and-set. The row counts the acknowledged
 *   increments and those in doubt exactly.
 * - One caller fills a database and drops it, repeatedly.
 */
import type { StorageProvider } from '../../libs/key-value-storage/src/core.js';
import type {
  Address,
  Batch,
  Change,
  Check,
  Row,
  Value,
  Version,
} from '../../libs/key-value-storage/src/provider.js';

export const callers = 40;
export const groups = 8;
export const callersPerGroup = 3; // in each group: 40 + 8 × 3 = 64 callers
export const droppedDatabase = 'tenant:dropped';
const databases = ['shared', 'tenant:a', 'tenant:b'] as const;

const namespace = { container: 'state:crash', entity: 'rows' };
export const databaseOf = (caller: number): string => databases[caller % databases.length] as string;
const addressOf = (caller: number, key: string): Address => ({
  database: databaseOf(caller),
  ...namespace,
  key: `caller ${caller} ${key}`,
});
export const groupAddress = (group: number): Address => ({
  database: 'shared',
  ...namespace,
  key: `group ${group}`,
});
const totalOf = (database: string): Address => ({ database, ...namespace, key: 'total' });
const parts = ['x', 'y', 'z'] as const;
const droppedRows = [0, 1, 2, 3, 4].map((row): Address => ({
  database: droppedDatabase,
  ...namespace,
  key: `row ${row}`,
}));

/** A text for this number, of up to 3 KB, so that lines end anywhere in a page. */
function textOf(caller: number, part: string, number: number): string {
  const length = (caller * 7_919 + number * 104_729) % 97 === 0 ? 3_000 : (caller * 31 + number * 17) % 120;
  return JSON.stringify({ caller, part, number, filler: 'ü\n"'.repeat(length / 3) });
}

const json = (text: string): Value & { kind: 'json' } => ({ kind: 'json', text });
const put = (address: Address, value: Exclude<Value, { kind: 'omitted' }>): Change => ({
  kind: 'put',
  address,
  value,
  ttl: 'never',
});

/** A check that the row is unchanged since it was read, or still absent. */
export const unchanged = (address: Address, row: Row | undefined): Check => ({
  address,
  expected: row === undefined ? 'absent' : { version: row.version },
});

export const counterOf = (caller: number): Address => addressOf(caller, 'counter');

/** Batch `number` of a caller, which replaces the rows of its previous batch. */
export function batchOf(caller: number, number: number, check: Check, version: Version): Batch {
  const deleted = number % 5 === 0 ? parts[number % 3] : undefined;
  return {
    database: databaseOf(caller),
    version,
    checks: [check],
    changes: [
      put(counterOf(caller), { kind: 'number', number: BigInt(number) }),
      ...parts.map((part): Change => {
        const address = addressOf(caller, part);
        return part === deleted
          ? { kind: 'delete', address }
          : put(address, json(textOf(caller, part, number)));
      }),
      { kind: 'sum', address: totalOf(databaseOf(caller)), operand: 1n },
    ],
  };
}

export function groupBatch(group: number, number: bigint, check: Check, version: Version): Batch {
  return {
    database: 'shared',
    version,
    checks: [check],
    changes: [put(groupAddress(group), { kind: 'number', number })],
  };
}

/** Fills the database that is dropped: odd steps fill, even ones drop. */
export function fillingBatch(number: number, version: Version): Batch {
  return {
    database: droppedDatabase,
    version,
    checks: droppedRows.map((address) => ({ address, expected: 'absent' })),
    changes: droppedRows.map((address) => put(address, json(textOf(99, address.key, number)))),
  };
}

/** The number of each caller and each group, and the step of filling and dropping. */
export interface Progress {
  readonly callers: number[];
  readonly groups: number[];
  dropping: number;
}

export const noProgress = (): Progress => ({
  callers: Array.from({ length: callers }, () => 0),
  groups: Array.from({ length: groups }, () => 0),
  dropping: 0,
});

/**
 * The stored progress. Throws if a batch is incomplete. Reads all rows, so all must be readable.
 */
export async function inspect(provider: StorageProvider): Promise<Progress> {
  const rows = new Map<string, Value>();
  for (const database of [...databases, droppedDatabase]) {
    for await (const { key, row } of provider.administration.export(database))
      rows.set(`${database} ${key}`, row.value);
  }
  const found = (address: Address): Value | undefined => {
    const value = rows.get(`${address.database} ${address.key}`);
    rows.delete(`${address.database} ${address.key}`);
    return value;
  };
  const progress = noProgress();
  const totals = new Map<string, number>(databases.map((database) => [database, 0]));
  for (let caller = 0; caller < callers; caller += 1) {
    const number = numberOf(found(counterOf(caller)));
    progress.callers[caller] = number;
    totals.set(databaseOf(caller), (totals.get(databaseOf(caller)) as number) + number);
    for (const part of parts) {
      const isAbsent = number === 0 || (number % 5 === 0 && parts[number % 3] === part);
      expectText(
        `caller ${caller} at ${number}: ${part}`,
        found(addressOf(caller, part)),
        isAbsent ? undefined : textOf(caller, part, number),
      );
    }
  }
  for (const [database, total] of totals) {
    const sum = numberOf(found(totalOf(database)));
    if (sum !== total)
      throw new Error(
        `The sum of ${database} is ${sum}, but the numbers of its callers add up to ${total}: an incomplete batch.`,
      );
  }
  for (let group = 0; group < groups; group += 1)
    progress.groups[group] = numberOf(found(groupAddress(group)));
  progress.dropping = inspectDropped(droppedRows.map((address) => [address.key, found(address)]));
  if (rows.size > 0) throw new Error(`Unexpected rows: ${[...rows.keys()].join(', ')}.`);
  return progress;
}

/** The number of the stored filling; 0 after a drop. */
function inspectDropped(rows: readonly (readonly [string, Value | undefined])[]): number {
  const [, first] = rows[0] as readonly [string, Value | undefined];
  const number = first?.kind === 'json' ? (JSON.parse(first.text) as { number: number }).number : 0;
  for (const [key, value] of rows)
    expectText(`filling ${number}: ${key}`, value, number === 0 ? undefined : textOf(99, key, number));
  return number;
}

function numberOf(value: Value | undefined): number {
  if (value === undefined) return 0;
  if (value.kind !== 'number') throw new Error(`The value must be a number; got ${value.kind}.`);
  return Number(value.number);
}

function expectText(what: string, value: Value | undefined, expected: string | undefined): void {
  const text = value?.kind === 'json' ? value.text : undefined;
  if (text !== expected)
    throw new Error(`${what}: found ${shorten(text)}, expected ${shorten(expected)}: an incomplete batch.`);
}

const shorten = (text: string | undefined): string =>
  text === undefined ? 'nothing' : text.length > 90 ? `${text.slice(0, 90)}…` : text;

/**
 * Compares the stored progress with the acknowledged progress before a kill. Each caller has one
 * batch in flight, so one more may be stored; for a group one for each of its callers; the dropping
 * may be one step further.
 */
export function differences(acknowledged: Progress, found: Progress): readonly string[] {
  const faults: string[] = [];
  const within = (what: string, number: number, least: number, most: number): void => {
    if (number < least) faults.push(`${what}: ${least} was acknowledged, ${number} is stored: lost`);
    if (number > most) faults.push(`${what}: at most ${most} can be stored, ${number} is`);
  };
  found.callers.forEach((number, caller) => {
    const least = acknowledged.callers[caller] as number;
    within(`caller ${caller}`, number, least, least + 1);
  });
  found.groups.forEach((number, group) => {
    const least = acknowledged.groups[group] as number;
    within(`group ${group}`, number, least, least + callersPerGroup);
  });
  // Even: the last acknowledged step was a drop, and the next filling may be stored. Odd: it was a
  // filling, and the next drop may be done.
  const step = acknowledged.dropping;
  const allowed = step % 2 === 0 ? [0, step + 1] : [step, 0];
  if (!allowed.includes(found.dropping))
    faults.push(`dropping: step ${step} was acknowledged, filling ${found.dropping} is stored`);
  return faults;
}

/** The progress that is certain after this was read: reads return only what is on disk. */
export function progressAfter(acknowledged: Progress, found: Progress): Progress {
  const step = acknowledged.dropping;
  const dropping = found.dropping > 0 ? found.dropping : step % 2 === 0 ? step : step + 1;
  return { callers: [...found.callers], groups: [...found.groups], dropping };
}
