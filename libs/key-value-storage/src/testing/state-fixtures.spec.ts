import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { z } from 'zod';
import { defineState } from '../core.js';
import { expectReadable, writeFixture } from './state-fixtures.js';

const Old = defineState<{ readonly name: string; readonly since: Date }>('a/person');
const present = (convert: (older: { readonly name: string }) => object) =>
  defineState('a/person', {
    schema: z.object({ first: z.string().min(1), since: z.date() }),
    schemaVersion: 2,
    upcast: { 1: convert },
  });
const Present = present(({ name, ...others }) => ({ ...others, first: name.split(' ')[0] }));
const since = new Date(0);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kvent-fixtures-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

it('fixtures of all versions are read by the present definition', async () => {
  await writeFixture(Old, directory, { ada: { name: 'Ada Lovelace', since } });
  const file = await writeFixture(Present, directory, {
    bo: { first: 'Bo', since },
    '7': { first: 'Cy', since },
  });
  expect(file).toBe(join(directory, 'a%2Fperson.v2.json'));
  writeFileSync(file, JSON.stringify(JSON.parse(readFileSync(file, 'utf8')), undefined, 4));
  const read = await expectReadable(Present, directory);
  expect(read.map(({ name, schemaVersion, value }) => [name, schemaVersion, value])).toEqual([
    ['ada', 1, { first: 'Ada', since }],
    ['7', 2, { first: 'Cy', since }],
    ['bo', 2, { first: 'Bo', since }],
  ]);
  expect(
    await writeFixture(Present, directory, { '7': { first: 'Cy', since }, bo: { first: 'Bo', since } }),
  ).toBe(file);
});

it('a value that can no longer be read is reported with its file, its name and the cause', async () => {
  await writeFixture(Old, directory, { ada: { name: 'Ada', since }, none: { name: '', since } });
  await writeFixture(Present, directory, { bo: { first: 'Bo', since } });
  await expect(expectReadable(Present, directory)).rejects.toThrow(
    /cannot read 1 of its fixtures:\n.*v1\.json, "none"/,
  );
  const Broken = present(() => {
    throw new TypeError('an upcast that fails');
  });
  await expect(expectReadable(Broken, directory)).rejects.toThrow(/cannot read 2 .*an upcast that fails/s);
});

it('a fixture does not change, and one of the present version is required', async () => {
  await writeFixture(Old, directory, { ada: { name: 'Ada', since } });
  await expect(writeFixture(Old, directory, { ada: { name: 'Eve', since } })).rejects.toMatchObject({
    code: 'INVALID_STATE',
  });
  await expect(writeFixture(Old, directory, {})).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  await expect(writeFixture(Present, directory, { no: { first: '', since } })).rejects.toMatchObject({
    code: 'INVALID_VALUE',
  });
  await expect(expectReadable(Present, directory)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  await expect(expectReadable(Old, join(directory, 'none'))).rejects.toThrow('person.v1.json is missing');
});
