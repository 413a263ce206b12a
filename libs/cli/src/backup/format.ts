/**
 * A backup is one readable file of JSON lines, the same for every storage, with the rows in key
 * order.
 *
 * ```text
 * {"kvent":"backup","format":1,"from":"JSON file ./data","at":"2026-11-21T06:00:00.000Z"}
 * {"database":"tenant:acme"}
 * {"container":"state:state","entity":"product","key":"mug","version":"…","updatedAt":…,"json":{"title":"Mug"}}
 * {"end":"tenant:acme","rows":1,"sha256":"…"}
 * {"kvent":"end","databases":1,"rows":1,"sha256":"…","before":"…"}
 * ```
 *
 * `sha256` of a database and of all databases is the hash that `kvent copy` prints for the same
 * rows. `before` is the SHA-256 of everything before the last line: `head -n -1 backup.jsonl |
 * sha256sum`.
 */
export const format = 1;

export interface Header {
  readonly kvent: 'backup';
  readonly format: number;
  readonly from: string;
  /** When it was started. */
  readonly at: string;
}

/** One database of a backup. */
export interface Section {
  readonly database: string;
  readonly rows: number;
  readonly sha256: string;
}

/** The content of a backup. */
export interface BackupSummary {
  readonly databases: readonly Section[];
  readonly rows: number;
  readonly sha256: string;
}

export const isCompressed = (path: string): boolean => path.endsWith('.gz');
