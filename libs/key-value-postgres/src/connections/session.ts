/** What runs statements: a pool, one connection, or a transaction of the application. */
import type { Columns } from '../sql/decode-row.js';
import type { Statement } from '../sql/statement.js';

/** `write`: when no answer comes, the effect of the statement is unknown. */
export type Purpose = 'read' | 'write';

export interface Session {
  /** Rejects with the error of the driver; `errorOf` makes an error of Kvent of it. */
  run(statement: Statement, parameters: readonly unknown[], purpose: Purpose): Promise<readonly Columns[]>;
}

/** A session that lasts until it is ended. */
export interface HeldSession {
  readonly session: Session;
  end(): Promise<void>;
}
