/**
 * What 64 callers write while their process is killed, and what must be found afterwards. Writer
 * and judge share only this page: every value can be computed again from who wrote it and its
 * number, so nothing has to be remembered but the numbers that were acknowledged.
 *
 * - Each caller counts up on a row of its own by compare-and-set, and in the same batch writes
 *   three rows whose text follows from that number (every fifth time it deletes one of them), and
 *   adds 1 to the sum of its database. All of that or nothing is there.
 * - Groups of callers count on one row together, by compare-and-set: it counts acknowledged
 *   increments, and those in doubt, exactly.
 * - One caller fills a database and drops it, again and again.
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
export const rivals = 3; // in each group: 40 + 8 × 3 = 64 callers
export const droppedDatabase = 'tenant:dropped';
const databases = ['shared', 'tenant:a', 'tenant:b'] as const;

const space = { container: 'state:crash', entity: 'rows' };
export const databaseOf = (caller: number): string => databases[caller % databases.length] as string;
const own = (caller: number, key: string): Address => ({
  database: databaseOf(caller),
  ...space,
  key: `caller ${caller} ${key}`,
});
export const groupAddress = (group: number): Address => ({
  database: 'shared',
  ...space,
  key: `group ${group}`,
});
const totalOf = (database: string): Address => ({ database, ...space, key: 'total' });
const parts = ['x', 'y', 'z'] as const;
const droppedRows = [0, 1, 2, 3, 4].map((row): Address => ({
  database: droppedDatabase,
  ...space,
  key: `row ${row}`,
}));

/** Text of the number's own: up to 3 KB, so that lines end anywhere in a page. */
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

/** The row that is to be `number` (undefined: not to be there yet), as a check of what was read. */
export const unchanged = (address: Address, row: Row | undefined): Check => ({
  address,
  expected: row === undefined ? 'absent' : { version: row.version },
});

export const counterOf = (caller: number): Address => own(caller, 'counter');

/** The caller's batch number `number`, which replaces its batch before. */
export function batchOf(caller: number, number: number, check: Check, version: Version): Batch {
  const goes = number % 5 === 0 ? parts[number % 3] : undefined;
  return {
    database: databaseOf(caller),
    version,
    checks: [check],
    changes: [
      put(counterOf(caller), { kind: 'number', number: BigInt(number) }),
      ...parts.map((part): Change => {
        const address = own(caller, part);
        return part === goes ? { kind: 'delete', address } : put(address, json(textOf(caller, part, number)));
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

/** Filling number `number` of the database that is dropped: odd steps fill, even ones drop. */
export function fillingBatch(number: number, version: Version): Batch {
  return {
    database: droppedDatabase,
    version,
    checks: droppedRows.map((address) => ({ address, expected: 'absent' })),
    changes: droppedRows.map((address) => put(address, json(textOf(99, address.key, number)))),
  };
}

/**
 * Numbers known to be there: each caller's, each group's, and how far the filling and dropping is.
 */
export interface Known {
  readonly callers: number[];
  readonly groups: number[];
  dropping: number;
}

export const nothingKnown = (): Known => ({
  callers: Array.from({ length: callers }, () => 0),
  groups: Array.from({ length: groups }, () => 0),
  dropping: 0,
});

/**
 * What is stored, if it is whole; else an error that says what is not. Reads everything, so it
 * proves that everything can be read.
 */
export async function inspect(provider: StorageProvider): Promise<Known> {
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
  const known = nothingKnown();
  const totals = new Map<string, number>(databases.map((database) => [database, 0]));
  for (let caller = 0; caller < callers; caller += 1) {
    const number = numberOf(found(counterOf(caller)));
    known.callers[caller] = number;
    totals.set(databaseOf(caller), (totals.get(databaseOf(caller)) as number) + number);
    for (const part of parts) {
      const gone = number === 0 || (number % 5 === 0 && parts[number % 3] === part);
      expectText(
        `caller ${caller} at ${number}: ${part}`,
        found(own(caller, part)),
        gone ? undefined : textOf(caller, part, number),
      );
    }
  }
  for (const [database, total] of totals) {
    const sum = numberOf(found(totalOf(database)));
    if (sum !== total)
      throw new Error(
        `The sum of ${database} is ${sum}, but its callers' numbers make ${total}: half a batch.`,
      );
  }
  for (let group = 0; group < groups; group += 1) known.groups[group] = numberOf(found(groupAddress(group)));
  known.dropping = inspectDropped(droppedRows.map((address) => [address.key, found(address)]));
  if (rows.size > 0) throw new Error(`Nobody wrote ${[...rows.keys()].join(', ')}.`);
  return known;
}

/** The number of the filling that is there, or 0: then the last step was a drop. */
function inspectDropped(rows: readonly (readonly [string, Value | undefined])[]): number {
  const [, first] = rows[0] as readonly [string, Value | undefined];
  const number = first?.kind === 'json' ? (JSON.parse(first.text) as { number: number }).number : 0;
  for (const [key, value] of rows)
    expectText(`filling ${number}: ${key}`, value, number === 0 ? undefined : textOf(99, key, number));
  return number;
}

function numberOf(value: Value | undefined): number {
  if (value === undefined) return 0;
  if (value.kind !== 'number') throw new Error(`A number was written; found is ${value.kind}.`);
  return Number(value.number);
}

function expectText(what: string, value: Value | undefined, expected: string | undefined): void {
  const text = value?.kind === 'json' ? value.text : undefined;
  if (text !== expected)
    throw new Error(`${what}: found ${shorten(text)}, expected ${shorten(expected)}: half a batch.`);
}

const shorten = (text: string | undefined): string =>
  text === undefined ? 'nothing' : text.length > 90 ? `${text.slice(0, 90)}…` : text;

/**
 * Holds what was found against what was acknowledged before a kill. A caller has one batch under
 * way, so one more may be there; a group as many more as it has callers; the dropping may be one
 * step further.
 */
export function judge(acknowledged: Known, found: Known): readonly string[] {
  const wrong: string[] = [];
  const within = (what: string, number: number, least: number, most: number): void => {
    if (number < least) wrong.push(`${what}: ${least} was acknowledged, found is ${number}: lost`);
    if (number > most)
      wrong.push(`${what}: ${most} was the most that can have been written, found is ${number}`);
  };
  found.callers.forEach((number, caller) => {
    const least = acknowledged.callers[caller] as number;
    within(`caller ${caller}`, number, least, least + 1);
  });
  found.groups.forEach((number, group) => {
    const least = acknowledged.groups[group] as number;
    within(`group ${group}`, number, least, least + rivals);
  });
  // even: the last acknowledged step was a drop, and the next filling may be there; odd: filled,
  // and the next drop may be done
  const step = acknowledged.dropping;
  const allowed = step % 2 === 0 ? [0, step + 1] : [step, 0];
  if (!allowed.includes(found.dropping))
    wrong.push(`dropping: step ${step} was acknowledged, found is filling ${found.dropping}`);
  return wrong;
}

/**
 * What is certain after it was found: found is acknowledged, because answers rest on what is on
 * disk.
 */
export function settle(acknowledged: Known, found: Known): Known {
  const step = acknowledged.dropping;
  const dropping = found.dropping > 0 ? found.dropping : step % 2 === 0 ? step : step + 1;
  return { callers: [...found.callers], groups: [...found.groups], dropping };
}
