/**
 * The command on directories as a few CommonJS files. A call spends most of its time on loading and
 * compiling modules: the loader of CommonJS starts faster than that of ES modules, and V8 compiles
 * only the group of commands that is called. A command on Postgres uses `dist`, so that it shares
 * its modules with the provider. The argument is the folder of the package.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { build, transform } from 'esbuild';

const folder = resolve(process.argv[2] ?? 'libs/cli');
const outdir = join(folder, 'bundle');
const shared = {
  // Node has it in the scope of CommonJS
  define: { 'import.meta.dirname': '__dirname' },
  minify: true,
  platform: 'node',
  target: 'node20',
  sourcesContent: false,
};

/**
 * Commands that read rows and change single ones. All others need more code: the stores, copies.
 */
const common = [
  'compact',
  'get',
  'ls',
  'put',
  'rm',
  'stats',
  'stream-ls',
  'stream-show',
  'tail',
  'tenants',
  'unlock',
  'verify',
].map((name) => `./commands/${name}.js`);
const table = readFileSync(join(folder, 'dist/commands/table.js'), 'utf8');
const called = Array.from(
  table.matchAll(/import\('\.\/([\w-]+\.js)'\)/g),
  ([, file]) => `./commands/${file}`,
);
const groups = {
  common: [...common, './input/open-directory.js'],
  rare: called.filter((each) => !common.includes(each)),
};

const groupOf = (path) =>
  Object.keys(groups).find((name) => groups[name].some((each) => basename(each) === basename(path)));

/** Each dynamic import of a module in a group imports the whole group. */
const grouping = {
  name: 'groups',
  setup(plugins) {
    plugins.onResolve({ filter: /^\.\.?\// }, ({ kind, path }) => {
      const name = kind === 'dynamic-import' ? groupOf(path) : undefined;
      return name === undefined ? undefined : { path: name, namespace: 'group' };
    });
    plugins.onLoad({ filter: /./, namespace: 'group' }, ({ path }) => ({
      contents: groups[path].map((each) => `export * from '${each}';`).join('\n'),
      resolveDir: join(folder, 'dist'),
    }));
  },
};

/** commander loads it for commands that are programs of their own; `kvent` has none. */
const withoutPrograms = {
  name: 'without-programs',
  setup(plugins) {
    plugins.onResolve({ filter: /^node:child_process$/ }, () => ({ path: 'none', namespace: 'none' }));
    plugins.onLoad({ filter: /./, namespace: 'none' }, () => ({ contents: '' }));
  },
};

// only for ES modules can esbuild split the code
const { outputFiles } = await build({
  ...shared,
  entryPoints: [join(folder, 'dist/main.js')],
  outdir,
  bundle: true,
  splitting: true,
  // a second copy of a package is noticed by the names of its classes
  keepNames: true,
  format: 'esm',
  sourcemap: 'inline',
  write: false,
  plugins: [grouping, withoutPrograms],
  external: ['@kvent/key-value-postgres', 'pg', 'typeorm'],
  logLevel: 'warning',
});

rmSync(outdir, { recursive: true, force: true });
mkdirSync(outdir);
for (const { path, text } of outputFiles) {
  const name = basename(path, '.js');
  const { code, map } = await transform(text, {
    ...shared,
    format: 'cjs',
    sourcemap: 'external',
    sourcefile: path,
  });
  const linked = code
    .replace(/\bimport\("(\.\/[\w-]+)\.js"\)/g, 'Promise.resolve().then(()=>require("$1.cjs"))')
    .replace(/\brequire\("(\.\/[\w-]+)\.js"\)/g, 'require("$1.cjs")');
  writeFileSync(join(outdir, `${name}.cjs`), `${linked}//# sourceMappingURL=${name}.cjs.map\n`);
  writeFileSync(join(outdir, `${name}.cjs.map`), map);
}
const commander = dirname(createRequire(join(folder, 'dist/main.js')).resolve('commander'));
copyFileSync(join(commander, 'LICENSE'), join(outdir, 'LICENSE.commander'));
