/**
 * A backup: one file of lines of JSON, readable, the same for every storage. Rows stand in key
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
 * `sha256` of a database and of all are the hashes that `kvent copy` tells of the same rows.
 * `before` is the SHA-256 of everything before the last line: `head -n -1 backup.jsonl |
 * sha256sum`.
 */
export const format = 1;

export interface Header {
  readonly kvent: 'backup';
  readonly format: number;
  readonly from: string;
  /** When it was begun. */
  readonly at: string;
}

/** One database of a backup. */
export interface Section {
  readonly database: string;
  readonly rows: number;
  readonly sha256: string;
}

/** What a backup holds. */
export interface BackupSummary {
  readonly databases: readonly Section[];
  readonly rows: number;
  readonly sha256: string;
}

export const isZipped = (path: string): boolean => path.endsWith('.gz');
