/**
 * The table of commands. The help, the completion of shells and `docs/reference/command-line.md`
 * are made of it. Each command is loaded when it is called, so that no call loads the others.
 */
import { columnsFrom, onErrorFrom } from '../input/record-options.js';
import { secondsFrom, timeToLiveFrom, wholeNumberFrom } from '../input/numbers.js';
import type { ArgumentSpec, CommandSpec, OptionSpec } from './declaration.js';

const output: readonly OptionSpec[] = [
  { flags: '--json', text: 'prints the result as JSON' },
  { flags: '--verbose', text: 'prints the details of an error' },
];

const opening: readonly OptionSpec[] = [
  ...output,
  { flags: '--schema <name>', text: 'the schema in Postgres (default: that of the provider)' },
  { flags: '--table <name>', text: 'the table in Postgres (default: that of the provider)' },
  {
    flags: '--wait <seconds>',
    text: 'how long to wait for a directory or rows that another process has locked',
    parse: secondsFrom,
    default: 5,
  },
];

const tenant: readonly OptionSpec[] = [
  { flags: '--tenant <id>', text: 'only this tenant', conflicts: 'shared' },
  { flags: '--shared', text: 'only the shared database' },
];

const target: readonly OptionSpec[] = [
  ...tenant,
  {
    flags: '--resume',
    text: 'continues an interrupted copy: drops unfinished databases, keeps equal ones',
    conflicts: 'replace',
  },
  { flags: '--replace', text: 'drops these databases in the target first' },
];

const container: OptionSpec = {
  flags: '--container <name>',
  text: 'the container of the state, if its definition names one',
};
const counter: OptionSpec = { flags: '--counter', text: 'of a counter, not of a state' };
const limit: OptionSpec = {
  flags: '--limit <rows>',
  text: 'at most this many, up to 1,000',
  parse: wholeNumberFrom(1, 1_000),
  default: 100,
};
const write: OptionSpec = { flags: '--write', text: 'required, because the command changes the storage' };
const ifMatch: OptionSpec = {
  flags: '--if-match <etag>',
  text: 'only if the value still has this etag',
};

const storage: ArgumentSpec = {
  name: 'storage',
  text: 'a directory of JsonFileProvider, or postgres://user@host:port/database',
};
const state: ArgumentSpec = { name: 'state', text: 'the name of a state, as in @State or defineState' };
const type: ArgumentSpec = { name: 'type', text: 'a type of streams, as in defineStream' };
const id: ArgumentSpec = { name: 'id', text: 'the id of a stream' };
const cursor: OptionSpec = { flags: '--cursor <cursor>', text: 'continues after the page that printed it' };
const version = wholeNumberFrom(1, Number.MAX_SAFE_INTEGER);
const key: ArgumentSpec = { name: 'key', text: 'a text, or a JSON array of parts: \'["user",42]\'' };

const file: ArgumentSpec = { name: 'file', text: 'a file (default: stdin or stdout)', optional: true };
const csv: readonly OptionSpec[] = [
  { flags: '--csv', text: 'CSV with a header (RFC 4180), instead of JSON lines' },
  { flags: '--key <column>', text: "the column of CSV with the keys (default: 'key')" },
  {
    flags: '--json-columns <names>',
    text: 'columns of CSV that hold JSON, with commas between them (default: all are texts)',
    parse: columnsFrom,
  },
];

const overwriting: readonly OptionSpec[] = [
  { flags: '--replace', text: 'overwrites an existing file, unless there is nothing to write' },
  { flags: '--allow-empty', text: 'with --replace: also where there is nothing to write' },
];

export const commands: readonly CommandSpec[] = [
  {
    name: 'copy',
    summary: 'Copies databases to another storage, and compares both sides row by row.',
    arguments: [],
    options: [
      { flags: '--from <storage>', text: 'the source, which is not changed', required: true },
      { flags: '--to <storage>', text: 'the target', required: true },
      ...target,
      ...opening,
      { flags: '--from-schema <name>', text: 'the schema of the source, if it is not that of --schema' },
      { flags: '--from-table <name>', text: 'the table of the source, if it is not that of --table' },
    ],
    writes: true,
    example: 'kvent copy --from ./data --to postgres://shop@localhost/shop',
    load: async () => (await import('./copy.js')).copy,
  },
  {
    name: 'backup',
    summary: 'Writes a storage to one file of JSON lines; each database is a snapshot of one moment.',
    arguments: [],
    options: [
      { flags: '--from <storage>', text: 'the source', required: true },
      {
        flags: '--to <file>',
        text: 'a file, compressed if its name ends with .gz, or a directory, for a name with the time',
        required: true,
      },
      ...tenant,
      ...overwriting,
      ...opening,
    ],
    writes: true,
    example: 'kvent backup --from ./data --to shop.jsonl.gz',
    load: async () => (await import('./backup.js')).backup,
  },
  {
    name: 'restore',
    summary: 'Restores a backup into a storage. A damaged backup is refused before anything is written.',
    arguments: [],
    options: [
      { flags: '--from <file>', text: 'a backup', required: true },
      { flags: '--to <storage>', text: 'the target', required: true },
      ...target,
      ...opening,
    ],
    writes: true,
    example: 'kvent restore --from shop.jsonl.gz --to ./restored',
    load: async () => (await import('./restore.js')).restore,
  },
  {
    name: 'salvage',
    summary: 'Copies the readable rows of a damaged directory, and reports the damage.',
    arguments: [],
    options: [
      {
        flags: '--from <directory>',
        text: 'the damaged directory; no process may use it, and it is not changed',
        required: true,
      },
      { flags: '--to <directory>', text: 'a new directory', required: true },
      ...output,
    ],
    writes: true,
    example: 'kvent salvage --from ./data --to ./rescued',
    load: async () => (await import('./salvage.js')).salvage,
  },
  {
    name: 'tenants',
    summary: 'Lists the tenants that hold data.',
    arguments: [storage],
    options: opening,
    writes: false,
    example: 'kvent tenants ./data',
    load: async () => (await import('./tenants.js')).tenants,
  },
  {
    name: 'ls',
    summary: 'Lists the states and stream types of a storage, or the keys of one state, page by page.',
    arguments: [storage, { ...state, optional: true }],
    options: [
      { flags: '--prefix <key>', text: 'only keys that begin with this text, or with these parts' },
      limit,
      cursor,
      { flags: '--values', text: 'prints the values too' },
      counter,
      container,
      ...tenant,
      ...opening,
    ],
    writes: false,
    example: 'kvent ls ./data product --tenant acme --prefix mug',
    load: async () => (await import('./ls.js')).ls,
  },
  {
    name: 'get',
    summary: 'Prints a value with its etag, its times and its schema version.',
    arguments: [storage, state, key],
    options: [counter, container, ...tenant, ...opening],
    writes: false,
    example: 'kvent get ./data product mug --tenant acme',
    load: async () => (await import('./get.js')).get,
  },
  {
    name: 'put',
    summary: 'Writes one value.',
    arguments: [storage, state, key, { name: 'value', text: 'JSON, or - for JSON from stdin' }],
    options: [
      write,
      { ...ifMatch, conflicts: 'ifAbsent' },
      { flags: '--if-absent', text: 'only if there is no value' },
      {
        flags: '--ttl <seconds>',
        text: "the value expires after this time, or 'never' (default: an existing expiry stays)",
        parse: timeToLiveFrom,
      },
      {
        flags: '--schema-version <number>',
        text: 'the schemaVersion of the value (default: that of the existing value, else 1)',
        parse: version,
      },
      container,
      ...tenant,
      ...opening,
    ],
    writes: true,
    example: `kvent put ./data product mug '{"title":"Mug"}' --tenant acme --write`,
    load: async () => (await import('./put.js')).put,
  },
  {
    name: 'rm',
    summary: 'Removes one value.',
    arguments: [storage, state, key],
    options: [write, ifMatch, container, ...tenant, ...opening],
    writes: true,
    example: 'kvent rm ./data product mug --tenant acme --write',
    load: async () => (await import('./rm.js')).rm,
  },
  {
    name: 'import',
    summary: 'Loads the entries of a file into a state: JSON lines with key and value, or CSV.',
    arguments: [storage, state, file],
    options: [
      write,
      ...csv,
      {
        flags: '--on-error <action>',
        text: "what follows a record that is refused: 'stop' or 'continue'",
        parse: onErrorFrom,
        default: 'stop',
      },
      {
        flags: '--failures <file>',
        text: 'a new file that gets every record that is refused, as JSON lines with its line and the reason',
      },
      {
        flags: '--schema-version <number>',
        text: 'the schemaVersion of the values',
        parse: version,
        default: 1,
      },
      {
        flags: '--module <path>',
        text: 'the compiled module that exports the state: its schemas check keys and values, and its indexes are kept',
      },
      container,
      ...tenant,
      ...opening,
    ],
    writes: true,
    example: 'kvent import ./data product products.jsonl --tenant acme --write',
    load: async () => (await import('./import.js')).importEntries,
  },
  {
    name: 'export',
    summary: 'Writes the entries of a state, as they are at one moment, as JSON lines or CSV.',
    arguments: [storage, state, file],
    options: [
      { flags: '--prefix <key>', text: 'only keys that begin with this text, or with these parts' },
      ...csv,
      {
        flags: '--columns <names>',
        text: 'the columns of CSV (default: the properties of the first entry)',
        parse: columnsFrom,
      },
      ...overwriting,
      container,
      ...tenant,
      ...opening,
    ],
    writes: true,
    example: 'kvent export ./data product products.jsonl --tenant acme',
    load: async () => (await import('./export.js')).exportEntries,
  },
  {
    name: 'stream ls',
    summary: 'Lists the stream types of a storage, or the streams of one type, page by page.',
    arguments: [storage, { ...type, optional: true }],
    options: [
      { flags: '--prefix <id>', text: 'only ids that begin with this text' },
      limit,
      cursor,
      ...tenant,
      ...opening,
    ],
    writes: false,
    example: 'kvent stream ls ./data order --tenant acme',
    load: async () => (await import('./stream-ls.js')).streamLs,
  },
  {
    name: 'stream show',
    summary: 'Prints the events of a stream with version, type, time, data and metadata.',
    arguments: [storage, type, id],
    options: [
      { flags: '--from <version>', text: 'the first version', parse: version, default: 1 },
      limit,
      { flags: '--reverse', text: 'prints the last events first, down to --from' },
      ...tenant,
      ...opening,
    ],
    writes: false,
    example: 'kvent stream show ./data order o-1 --tenant acme',
    load: async () => (await import('./stream-show.js')).streamShow,
  },
  {
    name: 'tail',
    summary: 'Prints the events of a stream as they are appended, until Ctrl+C, also of a directory in use.',
    arguments: [storage, type, id],
    options: [
      {
        flags: '--from <version>',
        text: 'begins with this version (default: the next one that is appended)',
        parse: version,
      },
      {
        flags: '--interval <seconds>',
        text: 'how long to wait before it looks again',
        parse: secondsFrom,
        default: 1,
      },
      ...tenant,
      ...opening,
    ],
    writes: false,
    example: 'kvent tail ./data order o-1 --tenant acme',
    endless: true,
    load: async () => (await import('./tail.js')).tail,
  },
  {
    name: 'unlock',
    summary: 'Ends the session that holds a stream. Its holder can write no more.',
    arguments: [storage, type, id],
    options: [write, ...tenant, ...opening],
    writes: true,
    example: 'kvent unlock postgres://shop@localhost/shop order o-1 --tenant acme --write',
    load: async () => (await import('./unlock.js')).unlock,
  },
  {
    name: 'verify',
    summary: 'Reads every row, and compares each stream with its events. Damage ends with exit code 1.',
    arguments: [storage],
    options: [...tenant, ...opening],
    writes: false,
    example: 'kvent verify ./data',
    load: async () => (await import('./verify.js')).verify,
  },
  {
    name: 'compact',
    summary: 'Removes deleted and expired values from the files of a directory.',
    arguments: [storage],
    options: [write, ...opening],
    writes: true,
    example: 'kvent compact ./data --write',
    load: async () => (await import('./compact.js')).compact,
  },
  {
    name: 'reindex',
    summary: 'Builds the indexes of states again, by the definitions that a module exports.',
    arguments: [storage],
    options: [
      {
        flags: '--module <path>',
        text: 'the compiled module that exports the states with their indexes',
        required: true,
      },
      write,
      ...tenant,
      ...opening,
    ],
    writes: true,
    example: 'kvent reindex ./data --module ./dist/states.js --write',
    load: async () => (await import('./reindex.js')).reindex,
  },
  {
    name: 'migrate',
    summary:
      'Counts the values of each schema version; with --write it rewrites older ones to the present version.',
    arguments: [storage],
    options: [
      {
        flags: '--module <path>',
        text: 'the compiled module that exports the states with schemaVersion and upcast',
        required: true,
      },
      { flags: '--state <name>', text: 'only this state' },
      { flags: '--write', text: 'rewrites the values; an interrupted run continues where it stopped' },
      {
        flags: '--rows-per-second <number>',
        text: 'writes at most this many values in a second',
        parse: wholeNumberFrom(1, 1_000_000),
      },
      {
        flags: '--concurrency <number>',
        text: 'how many values are written at the same time',
        parse: wholeNumberFrom(1, 1_000),
        default: 16,
      },
      ...tenant,
      ...opening,
    ],
    writes: true,
    example: 'kvent migrate ./data --module ./dist/states.js --write',
    load: async () => (await import('./migrate.js')).migrate,
  },
  {
    name: 'init',
    summary: 'Adds Kvent to an existing Nest application: packages, root module, settings of Jest.',
    arguments: [{ name: 'folder', text: 'the folder of the application (default: .)', optional: true }],
    options: [
      {
        flags: '--provider <name>',
        text: 'the storage: json-file, memory or postgres',
        default: 'json-file',
      },
      { flags: '--example', text: 'writes a first state with its service, controller and test too' },
      { flags: '--dry-run', text: 'prints the changes as a diff, and writes nothing' },
      ...output,
    ],
    writes: true,
    example: 'kvent init --provider json-file --example',
    load: async () => (await import('./init.js')).init,
  },
  {
    name: 'completion',
    summary: 'Prints the completion script of a shell, bash or zsh.',
    arguments: [{ name: 'shell', text: 'bash or zsh' }],
    options: output,
    writes: false,
    example: 'kvent completion bash',
    load: async () => {
      const { completion } = await import('./completion.js');
      return (options) => completion(options, commands);
    },
  },
  {
    name: 'stats',
    summary: 'Counts rows and the bytes of their values, for each database, state and stream type.',
    arguments: [storage],
    options: [...tenant, ...opening],
    writes: false,
    example: 'kvent stats ./data',
    load: async () => (await import('./stats.js')).stats,
  },
];
