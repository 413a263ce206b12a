/** What the shop prints after the start. */
import { demoShops } from '../seed.js';
import type { ChosenStorage } from '../storage.js';
import { demoScript, type Step } from './demo-script.js';

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
    ...demoScript(port)
      .filter(({ printed }) => printed)
      .flatMap(stepLines),
    `More: README, "A walk through the store".   Stop: Ctrl+C.${again}`,
    ...(storage.directory === undefined ? [] : ['On Postgres: STOREFRONT_STORAGE=postgres://… npm start']),
    '',
  ].join('\n');
}

const stepLines = ({ about, command }: Step): readonly string[] =>
  [`# ${about}`, ...command.split('\n'), ''].map((line) => (line === '' ? '' : `  ${line}`));
