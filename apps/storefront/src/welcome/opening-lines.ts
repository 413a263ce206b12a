/** What the shop prints when it is open. */
import { demoShops } from '../seed.js';
import type { ChosenStorage } from '../storage.js';
import { walk, type Step } from './walk.js';

export function openingLines(port: number, storage: ChosenStorage): string {
  const address = `http://localhost:${port}`;
  const again = storage.isOwn === true ? '   Again from scratch: npm start -- --fresh' : '';
  return [
    '',
    `Storefront  ${address}     storage: ${storage.description}`,
    `            ${'/docs  API page'.padEnd(address.length)}     tenants: ${demoShops.map(({ id }) => id).join(', ')}     (header X-Tenant-Id)`,
    '',
    'Try, in another terminal:',
    '',
    ...walk(port)
      .filter(({ printed }) => printed)
      .flatMap(stepLines),
    `More: README, "A walk through the store".   Stop: Ctrl+C.${again}`,
    ...(storage.directory === undefined ? [] : ['On Postgres: STOREFRONT_STORAGE=postgres://… npm start']),
    '',
  ].join('\n');
}

const stepLines = ({ about, command }: Step): readonly string[] =>
  [`# ${about}`, ...command.split('\n'), ''].map((line) => (line === '' ? '' : `  ${line}`));
