/**
 * An application as `nest new` makes it, with what the guide for new applications says: `kvent
 * init` of the packed command line, then the scripts of the application build and test it, and it
 * is started, called and stopped.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { until } from '../postgres/until.js';
import { packLibrary } from './pack-library.js';
import { ownEnvironment, root, type ScratchApp } from './scratch-app.js';

const run = promisify(execFile);

/**
 * The packages of the generated application that building and testing it needs, in fixed versions.
 */
const tools = {
  11: [
    '@nestjs/cli@11.0.24',
    '@nestjs/testing@11.2.6',
    '@types/express@5.0.6',
    '@types/jest@30.0.0',
    'jest@30.5.2',
    'ts-jest@29.4.15',
    'typescript@5.9.3',
  ],
  12: [
    '@nestjs/cli@12.0.8',
    '@nestjs/testing@12.1.1',
    '@types/express@5.0.6',
    'jest@30.5.2', // for the settings of Jest in the guide
    'ts-jest@29.4.15',
    'typescript@6.0.3',
    'vite-tsconfig-paths@5.1.4',
    'vitest@4.1.12',
  ],
} as const;

interface Setting {
  readonly module: string;
  readonly moduleResolution: string;
  readonly type: 'commonjs' | 'module';
}
const settings: Readonly<Record<11 | 12, readonly Setting[]>> = {
  11: [
    { module: 'node16', moduleResolution: 'node16', type: 'commonjs' },
    { module: 'commonjs', moduleResolution: 'node10', type: 'commonjs' },
    { module: 'node20', moduleResolution: 'node16', type: 'commonjs' },
    { module: 'preserve', moduleResolution: 'bundler', type: 'commonjs' },
  ],
  12: [
    { module: 'node16', moduleResolution: 'node16', type: 'module' },
    { module: 'commonjs', moduleResolution: 'bundler', type: 'commonjs' },
    { module: 'preserve', moduleResolution: 'bundler', type: 'module' },
  ],
};

export function describeGeneratedApp(version: 11 | 12, appOf: () => ScratchApp): void {
  describe('an application made by nest new', () => {
    let folder: string;
    let dryRun: string;
    const script = (...args: readonly string[]) =>
      run('npm', ['run', '--silent', ...args], { cwd: folder, env: ownEnvironment() });
    const kvent = (...args: readonly string[]) =>
      run('npx', ['--no-install', 'kvent', ...args], { cwd: folder, env: ownEnvironment() });

    beforeAll(async () => {
      const scratch = appOf();
      folder = join(scratch.folder, 'app');
      // beside the application, whose packages Node finds in the folder above
      const packed = await Promise.all([packLibrary('key-value-postgres'), packLibrary('cli')]);
      await scratch.add([...tools[version], ...packed.map(({ tarball }) => tarball)]);
      const nest = ['new', 'app', '--skip-git', '--skip-install', '--package-manager', 'npm'];
      await run('npx', ['--no-install', 'nest', ...nest], { cwd: scratch.folder, env: ownEnvironment() });
      dryRun = (await kvent('init', '--example', '--dry-run')).stdout;
      await kvent('init', '--example');
    }, 600_000);

    it('has the lines of the guide, and a second kvent init changes nothing', async () => {
      const guide = await readFile(join(root, 'docs/guides/new-application.md'), 'utf8');
      const block = (language: string): string =>
        new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(guide)?.[1] ?? `The guide has no ${language}.`;
      // a release raises the version of the packages, not that in the guide
      const present = block('diff').replace(
        /(?<="@kvent\/key-value-storage": "\^)[\d.]+/,
        await ownVersion(),
      );
      if (version === 12) expect(dryRun).toContain(present);
      expect(await appOf().read('app/src/catalog.module.ts')).toBe(block('ts'));
      expect((await kvent('init', '--example')).stdout).toBe(
        'Kvent is set up already: nothing was changed.\n',
      );
    });

    it('passes its own tests', async () => {
      const { stdout, stderr } = await script('test');
      const printed = (stdout + stderr).replace(/\u001b\[\d+m/g, '');
      expect(printed).toMatch(/Tests: +2 passed, 2 total|Tests +2 passed \(2\)/);
    });

    it('is built and started, stores what it receives, and closes the storage after SIGTERM', async () => {
      await script('build');
      const socket = join(folder, 'app.sock');
      const app = spawn(process.execPath, ['dist/main'], {
        cwd: folder,
        env: ownEnvironment({ PORT: socket }),
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const ended = once(app, 'exit');
      try {
        await Promise.race([
          // Nest says that it has started before it listens
          until('the application listens', () => accepts(socket)),
          ended.then(([code]) => Promise.reject(new Error(`It ended with ${String(code)}.`))),
        ]);
        const mug = { title: 'Mug', price: 10 };
        expect(await call(socket, 'PUT', '/products/mug', mug)).toEqual({ status: 200, body: mug });
        expect(await call(socket, 'GET', '/products/mug')).toEqual({ status: 200, body: mug });
        expect(await call(socket, 'GET', '/products/cup')).toMatchObject({
          status: 404,
          body: { code: 'KEY_NOT_FOUND' },
        });
      } finally {
        app.kill('SIGTERM');
      }
      expect(await ended).toEqual([null, 'SIGTERM']);
      const { stdout } = await kvent('get', './data', 'product', 'mug', '--json', '--wait', '0');
      expect(JSON.parse(stdout)).toMatchObject({ value: { title: 'Mug', price: 10 } });
    });

    it.each(settings[version])(
      'compiles with module $module and moduleResolution $moduleResolution (type: $type)',
      async ({ module, moduleResolution, type }) => {
        const scratch = appOf();
        const name = `settings-${module}-${moduleResolution}-${type}`;
        await scratch.writeProgram(name, type, 'main.ts');
        const options = { module, moduleResolution, noEmit: true, skipLibCheck: module !== 'node16' };
        await scratch.compile(name, options, ['program.ts']);
      },
    );

    if (version === 11)
      it('fails in Jest without the line of the guide, on a Node whose `require` does not work there', async () => {
        const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
        const failing = script('test', '--', '--transformIgnorePatterns', '/node_modules/', 'catalog');
        if (major > 24 || (major === 24 && minor >= 9)) await failing.catch(() => undefined);
        else await expect(failing).rejects.toThrow('Must use import to load ES Module');
      });
    else
      it('passes its test in Jest with the settings of the guide', async () => {
        const { jest } = JSON.parse(await jestBlock()) as { readonly jest: object };
        await appOf().write('app/jest.config.json', jest);
        const spec = (await appOf().read('app/src/catalog.spec.ts')).replace("'vitest'", "'@jest/globals'");
        await appOf().write('app/src/catalog.spec.ts', spec);
        const jestProgram = join(appOf().folder, 'node_modules/jest/bin/jest.js');
        const { stderr } = await appOf().run('app', [
          '--experimental-vm-modules',
          jestProgram,
          '--config',
          'jest.config.json',
          'catalog',
        ]);
        expect(stderr).toContain('1 passed, 1 total');
      });
  });
}

async function ownVersion(): Promise<string> {
  const manifest = await readFile(join(root, 'libs/key-value-storage/package.json'), 'utf8');
  return (JSON.parse(manifest) as { readonly version: string }).version;
}

async function jestBlock(): Promise<string> {
  const guide = await readFile(join(root, 'docs/guides/testing.md'), 'utf8');
  const section = guide.slice(guide.indexOf('## Jest on Nest 12'));
  return /```json\n([^]*?)```/.exec(section)?.[1] ?? 'The guide must show the settings of Jest.';
}

/** Whether a process listens on a socket in the file system. */
async function accepts(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A call through a socket in the file system, so that no port is chosen. */
async function call(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ readonly status: number | undefined; readonly body: unknown }> {
  const sent = request({ socketPath, method, path, headers: { 'content-type': 'application/json' } });
  sent.end(body && JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode, body: JSON.parse(await text(response)) as unknown };
}
