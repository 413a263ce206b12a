/**
 * Waiting for a row that an open transaction holds. A statement that waits for one of several rows
 * holds the others as long. So the batch is taken back, the held row is waited for alone, and the
 * batch is sent again once it is free. Each wait takes a connection: only a part of the pool may be
 * spent on waits, and half of that on those of one database, so that one long transaction cannot
 * exhaust it, nor take the waits of other tenants.
 */
import { rowNameOf } from '@kvent/key-value-storage/internal';
import { systemClock, type Address, type Batch, type RowAddress } from '@kvent/key-value-storage/provider';
import { errorOf, isLockTimeout, refusalOf, unavailable } from '../connections/failure.js';
import type { Session } from '../connections/session.js';
import { addressColumns } from '../sql/array-parameters.js';
import type { Columns } from '../sql/decode-row.js';
import { findHeldRows, waitForRow } from '../sql/lock-wait-statements.js';
import type { Dialect, Statement } from '../sql/statement.js';
import { DatabasePermits, type PermitWait } from '../connections/database-permits.js';

export interface LockWaitOptions {
  readonly name: string;
  readonly session: Session;
  readonly dialect: Dialect;
  /** How long a statement waits for a row, before its batches wait alone. */
  readonly shortLockMs: number;
  /** How long a batch waits for a row in all. */
  readonly lockTimeoutMs: number;
  /** Connections that may wait for rows at once. */
  readonly waitingMax: number;
}

/** Between attempts while another session creates a row, in milliseconds. */
const pauseMsMin = 50;
const pauseMsMax = 400;

/** Between two looks at rows that are held, in milliseconds. */
const againAfterMs = 10;

interface Suspects {
  /** They need rows that are held. */
  readonly held: ReadonlySet<Batch>;
  /** They may need rows that are being created, or that were held. */
  readonly unclear: ReadonlySet<Batch>;
}

export class LockWait {
  readonly #options: LockWaitOptions;
  readonly #findHeldRows: Statement;
  readonly #wait: Statement;
  readonly #permits: DatabasePermits;
  readonly #alone: DatabasePermits;

  /** `alone`: for batches that are sent again without a row to wait for. */
  constructor(options: LockWaitOptions, alone: DatabasePermits) {
    this.#options = options;
    this.#alone = alone;
    this.#findHeldRows = findHeldRows(options.dialect);
    this.#wait = waitForRow(options.dialect);
    this.#permits = new DatabasePermits(options.waitingMax);
  }

  /**
   * Sends a batch whose row was held, once the row is free; rejects with the lock timeout when that
   * takes too long. `waiting`: called with the row that is waited for.
   */
  async run(
    { database, checks, changes }: Batch,
    send: (lockMs: number) => Promise<void>,
    waiting: (row: RowAddress) => void,
  ): Promise<void> {
    const until = systemClock.monotonic() + this.#options.lockTimeoutMs;
    const rows = rowsOf({ checks, changes });
    const [only] = rows;
    if (rows.length === 1 && only !== undefined) {
      waiting(only);
      return await this.#permits.run(
        database,
        this.#permitUntil(until),
        async () => await send(msUntil(until)),
      );
    }
    const sendAgain = async (): Promise<void> => await send(this.#options.shortLockMs);
    for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
      const { row, isAbsent } = await this.#findHeld(database, rows);
      if (row !== undefined) waiting(row);
      // a row that is being created cannot be locked before it is there
      if (isAbsent) await systemClock.wait(Math.min(pauseMs, msUntil(until)));
      try {
        if (row === undefined || isAbsent)
          return await this.#alone.run(database, this.#permitUntil(until), sendAgain);
        return await this.#permits.run(database, this.#permitUntil(until), async () => {
          await this.#waitFor(database, row, msUntil(until));
          await sendAgain();
        });
      } catch (error) {
        if (!isLockTimeout(error) || systemClock.monotonic() >= until) throw error;
      }
    }
  }

  #permitUntil(moment: number): PermitWait {
    const { name, lockTimeoutMs } = this.#options;
    return {
      waitMs: msUntil(moment),
      late: () =>
        unavailable(
          `${name}: a row is held by an open transaction, and as many calls wait for such rows as may; this one had no turn within lockTimeoutMs (${lockTimeoutMs} ms)`,
        ),
    };
  }

  /**
   * Because of which of these batches their statement may have waited. A row that is held now and a
   * moment later is one that is worth a wait: they are few.
   */
  async suspects(batches: readonly Batch[]): Promise<Suspects> {
    const { held, absent } = await this.#needing(batches);
    if (held.length > 0) await systemClock.wait(againAfterMs);
    const stillHeld = held.length > 0 ? (await this.#needing(held)).held : [];
    if (stillHeld.length > 0) return { held: new Set(stillHeld), unclear: new Set() };
    return { held: new Set(), unclear: new Set(absent.length > 0 ? absent : batches) };
  }

  /** Those of the batches that need a row that is held, and those that need an absent one. */
  async #needing(
    batches: readonly Batch[],
  ): Promise<{ readonly held: readonly Batch[]; readonly absent: readonly Batch[] }> {
    const needed = batches.flatMap((batch) =>
      rowsOf(batch).map((row) => ({ batch, address: { database: batch.database, ...row } })),
    );
    const found = await this.#find(needed.map(({ address }) => address));
    const those = (absent: boolean): readonly Batch[] => [
      ...new Set(
        found.flatMap(({ index, isAbsent }) => (isAbsent === absent ? (needed[index]?.batch ?? []) : [])),
      ),
    ];
    return { held: those(false), absent: those(true) };
  }

  /**
   * The first row that is held; else the first absent one, which another session may be creating.
   */
  async #findHeld(
    database: string,
    rows: readonly RowAddress[],
  ): Promise<{ readonly row: RowAddress | undefined; readonly isAbsent: boolean }> {
    const found = await this.#find(rows.map((row) => ({ database, ...row })));
    const first = found.find(({ isAbsent }) => !isAbsent) ?? found[0];
    return { row: first && rows[first.index], isAbsent: first?.isAbsent === true };
  }

  /** Of these rows, those that are held or absent. */
  async #find(
    addresses: readonly Address[],
  ): Promise<readonly { readonly index: number; readonly isAbsent: boolean }[]> {
    const lines = await this.#read(this.#findHeldRows, addressColumns(addresses));
    return lines.map(([number, absent]) => ({ index: Number(number) - 1, isAbsent: absent === 't' }));
  }

  async #waitFor(database: string, { container, entity, key }: RowAddress, ms: number): Promise<void> {
    await this.#read(this.#wait, [database, container, entity, key, String(ms)]);
  }

  /** While nothing of a batch is in flight: without an answer, nothing has taken effect either. */
  async #read(statement: Statement, parameters: readonly unknown[]): Promise<readonly Columns[]> {
    const { name, session } = this.#options;
    try {
      return await session.run(statement, parameters, 'read');
    } catch (error) {
      throw refusalOf(error) === undefined ? errorOf(error, name, 'read') : error;
    }
  }
}

const rowsOf = ({ checks, changes }: Pick<Batch, 'checks' | 'changes'>): readonly RowAddress[] => [
  ...new Map([...checks, ...changes].map(({ address }) => [rowNameOf(address), address])).values(),
];
const msUntil = (moment: number): number => Math.max(1, Math.ceil(moment - systemClock.monotonic()));
