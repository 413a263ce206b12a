/**
 * Fixtures of stored values: files in the repository of an application, one for each schema version
 * of a state, that the present definition must still read. They hold values as they are stored, so
 * that they show what an earlier release has written.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isStorageError } from '../core/base/errors.js';
import { messageOf } from '../core/base/kinds.js';
import { invalidOption, invalidState } from '../core/base/options.js';
import { definitionOf, type AnyState, type InputOf, type StateOf } from '../core/store/state-definition.js';
import { ValueCodec } from '../core/store/value-codec.js';

/** A value of a fixture, as the present definition reads it. */
export interface ReadFixture<T> {
  readonly file: string;
  /** The name of the value in its file. */
  readonly name: string;
  /** The version of the file. */
  readonly schemaVersion: number;
  readonly value: T;
}

/**
 * Writes the fixture of the present schema version, `<state>.v<version>.json`, and returns its
 * path. `values`: by a name of your choice. A file with the same content stays as it is;
 * `INVALID_STATE` for one with another content: what an earlier release has written does not
 * change. `INVALID_VALUE` for a value that the schema refuses.
 */
export async function writeFixture<D extends AnyState>(
  state: D,
  directory: string,
  values: Readonly<Record<string, InputOf<D>>>,
): Promise<string> {
  const definition = definitionOf(state);
  const codec = new ValueCodec(definition, false);
  const lines: string[] = [];
  for (const [name, value] of Object.entries(values)) {
    const { stored } = await codec.encode(name, value);
    if (stored.kind === 'json') lines.push(`  ${JSON.stringify(name)}: ${stored.text}`);
  }
  if (lines.length === 0) throw invalidOption('writeFixture: values must have at least one value; got none.');
  const text = `{\n${lines.join(',\n')}\n}\n`;
  const file = join(directory, `${fileStem(definition.name)}${definition.schemaVersion}.json`);
  await mkdir(directory, { recursive: true });
  const existing = await textOf(file);
  if (existing === undefined) await writeFile(file, text);
  else if (compact(existing) !== compact(text))
    throw invalidState(
      `The fixture ${file} has another content. Increase schemaVersion, or delete the file if no release has written such values.`,
    );
  return file;
}

/**
 * Reads every value of the fixtures of a state, older versions through `upcast`, checks them by the
 * schema, and returns them, for further assertions of any test runner. An `AggregateError` lists
 * the values that cannot be read. `INVALID_OPTION` where the present schema version has no fixture:
 * write it (`writeFixture`) before the next change of the state.
 */
export async function expectReadable<D extends AnyState>(
  state: D,
  directory: string,
): Promise<readonly ReadFixture<StateOf<D>>[]> {
  const { name: stateName, schemaVersion: present } = definitionOf(state);
  const codec = new ValueCodec(definitionOf(state), false);
  const found: ReadFixture<StateOf<D>>[] = [];
  const errors: Error[] = [];
  const versions = await versionsIn(directory, fileStem(stateName));
  if (!versions.includes(present))
    throw invalidOption(
      `${join(directory, `${fileStem(stateName)}${present}.json`)} is missing: write it with writeFixture.`,
    );
  for (const schemaVersion of versions) {
    const file = join(directory, `${fileStem(stateName)}${schemaVersion}.json`);
    const stored = JSON.parse(await readFile(file, 'utf8')) as Readonly<Record<string, unknown>>;
    for (const [name, value] of Object.entries(stored)) {
      try {
        const address = { database: 'fixture', container: file, entity: stateName, key: name };
        const decoded = await codec.decode(address, { kind: 'json', text: storedText(value) });
        await codec.encode(name, decoded);
        found.push({ file, name, schemaVersion, value: decoded as StateOf<D> });
      } catch (error) {
        errors.push(new Error(`${file}, ${JSON.stringify(name)}: ${reasonOf(error)}`, { cause: error }));
      }
    }
  }
  if (errors.length === 0) return found;
  const list = errors.map(({ message }) => message).join('\n');
  throw new AggregateError(
    errors,
    `The present ${stateName} cannot read ${errors.length} of its fixtures:\n${list}`,
  );
}

/** Encoded, because the name of a state may hold any character. */
const fileStem = (state: string): string => `${encodeURIComponent(state)}.v`;

async function versionsIn(directory: string, stem: string): Promise<readonly number[]> {
  const files = await readdir(directory).catch(() => []);
  return files
    .filter((file) => file.startsWith(stem) && /^\d+\.json$/.test(file.slice(stem.length)))
    .map((file) => Number.parseInt(file.slice(stem.length), 10))
    .sort((a, b) => a - b);
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A formatter may have changed the blanks. */
const compact = (text: string): string => JSON.stringify(JSON.parse(text));

/** The schema version comes first in a stored text. */
function storedText(value: unknown): string {
  if (typeof value !== 'object' || value === null || !('$v' in value)) return JSON.stringify(value);
  const { $v, ...others } = value;
  const text = JSON.stringify(others);
  return text === '{}' ? `{"$v":${JSON.stringify($v)}}` : `{"$v":${JSON.stringify($v)},${text.slice(1)}`;
}

/** With the cause: an upcast that throws is the cause of `STORAGE_CORRUPT`. */
function reasonOf(error: unknown): string {
  const cause = isStorageError(error) ? error.cause : undefined;
  return cause === undefined ? messageOf(error) : `${messageOf(error)} ${messageOf(cause)}`;
}
