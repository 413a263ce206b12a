/**
 * Waiting for a row that an open transaction holds. A statement that waits for one of several rows
 * holds the others as long. So the batch is taken back, the held row is waited for alone, and the
 * batch is sent again once it is free. Each wait takes a connection: only a part of the pool may be
 * spent on waits, so that one long transaction cannot exhaust it.
 */
import { rowNameOf, Semaphore } from '@kvent/key-value-storage/internal';
import { systemClock, type Batch, type RowAddress } from '@kvent/key-value-storage/provider';
import { isLockTimeout } from '../connections/failure.js';
import type { Session } from '../connections/session.js';
import { addressColumns } from '../sql/array-parameters.js';
import { findHeldRows, waitForRow } from '../sql/lock-wait-statements.js';
import type { Dialect, Statement } from '../sql/statement.js';

export interface LockWaitOptions {
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

export class LockWait {
  readonly #options: LockWaitOptions;
  readonly #find: Statement;
  readonly #wait: Statement;
  readonly #semaphore: Semaphore;

  constructor(options: LockWaitOptions) {
    this.#options = options;
    this.#find = findHeldRows(options.dialect);
    this.#wait = waitForRow(options.dialect);
    this.#semaphore = new Semaphore(options.waitingMax);
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
    const rows = [
      ...new Map([...checks, ...changes].map(({ address }) => [rowNameOf(address), address])).values(),
    ];
    const [only] = rows;
    if (rows.length === 1 && only !== undefined) {
      waiting(only);
      return await this.#semaphore.run(async () => await send(msUntil(until)));
    }
    for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
      const { row, isAbsent } = await this.#findHeld(database, rows);
      if (row !== undefined) waiting(row);
      if (row !== undefined && !isAbsent)
        await this.#semaphore.run(async () => await this.#waitFor(database, row, msUntil(until)));
      // a row that is being created cannot be locked before it is there
      else if (isAbsent) await systemClock.wait(Math.min(pauseMs, msUntil(until)));
      try {
        return await send(this.#options.shortLockMs);
      } catch (error) {
        if (!isLockTimeout(error) || systemClock.monotonic() >= until) throw error;
      }
    }
  }

  /**
   * The first row that is held; else the first absent one, which another session may be creating.
   */
  async #findHeld(
    database: string,
    rows: readonly RowAddress[],
  ): Promise<{ readonly row: RowAddress | undefined; readonly isAbsent: boolean }> {
    const addresses = rows.map((row) => ({ database, ...row }));
    const lines = await this.#options.session.run(this.#find, addressColumns(addresses), 'read');
    const line = lines.find(([, absent]) => absent === 'f') ?? lines[0];
    return { row: line === undefined ? undefined : rows[Number(line[0]) - 1], isAbsent: line?.[1] === 't' };
  }

  async #waitFor(database: string, { container, entity, key }: RowAddress, ms: number): Promise<void> {
    await this.#options.session.run(this.#wait, [database, container, entity, key, String(ms)], 'read');
  }
}

const msUntil = (moment: number): number => Math.max(1, Math.ceil(moment - systemClock.monotonic()));
