/**
 * Style, and the allowed imports between the rooms of this repository, as one table. Lint enforces
 * it in the editor. `test/architecture` checks the imports again, and checks that lint finds
 * planted violations.
 */
import { builtinModules } from 'node:module';
import { defineConfig } from 'oxlint';

const doors = [
  'key-value-storage',
  'key-value-storage/core',
  'key-value-storage/provider',
  'key-value-storage/testing',
  'key-value-postgres',
  'event-store',
  'event-store/core',
  'event-store/testing',
];
/** Doors for the packages of this repository only. */
const internal = [
  'key-value-storage/internal',
  'key-value-storage/internal/rows',
  'key-value-storage/internal/json-file',
  'key-value-storage/internal/nest',
  'event-store/internal',
];

/**
 * The allowed imports. A room may always import from itself. A file belongs to the first row whose
 * `files` match, so a door has its row before its package.
 *
 * - `files`: a glob, from the root
 * - `rooms`: the other rooms it may import from
 * - `packages`: the packages it may import; `'*'` means any
 * - `node`: whether it may import modules of Node
 *
 * @type {Record<string, { readonly files: string, readonly rooms: readonly string[], readonly packages: '*' | readonly string[], readonly node: boolean }>}
 */
export const rooms = {
  // Specs are beside the code that they test, and may import files behind the doors.
  'unit tests': {
    files: 'libs/*/src/**/{*.spec,spec-support}.ts',
    rooms: [
      ...doors,
      ...internal,
      'core',
      'transfer',
      'memory',
      'json-file',
      'nest',
      'testing',
      'postgres',
      'projections',
      'streams',
      'streams-nest',
      'streams-testing',
      'cli',
    ],
    packages: '*',
    node: true,
  },

  // The doors: what each package exports, name by name.
  'key-value-storage': {
    files: 'libs/key-value-storage/src/index.ts',
    rooms: ['core', 'transfer', 'memory', 'json-file', 'nest'],
    packages: [],
    node: false,
  },
  'key-value-storage/core': {
    files: 'libs/key-value-storage/src/core.ts',
    rooms: ['core', 'transfer', 'memory', 'json-file'],
    packages: [],
    node: false,
  },
  'key-value-storage/provider': {
    files: 'libs/key-value-storage/src/provider.ts',
    rooms: ['core'],
    packages: [],
    node: false,
  },
  'key-value-storage/internal': {
    files: 'libs/key-value-storage/src/internal.ts',
    rooms: ['core', 'transfer'],
    packages: [],
    node: false,
  },
  'key-value-storage/internal/rows': {
    files: 'libs/key-value-storage/src/internal-rows.ts',
    rooms: ['core'],
    packages: [],
    node: false,
  },
  'key-value-storage/internal/json-file': {
    files: 'libs/key-value-storage/src/internal-json-file.ts',
    rooms: ['json-file'],
    packages: [],
    node: false,
  },
  'key-value-storage/internal/nest': {
    files: 'libs/key-value-storage/src/internal-nest.ts',
    rooms: ['nest'],
    packages: [],
    node: false,
  },
  'key-value-storage/testing': {
    files: 'libs/key-value-storage/src/testing/index.ts',
    rooms: ['testing'],
    packages: [],
    node: false,
  },
  'event-store': {
    files: 'libs/event-store/src/index.ts',
    rooms: ['key-value-storage', 'projections', 'streams', 'streams-nest'],
    packages: [],
    node: false,
  },
  'event-store/core': {
    files: 'libs/event-store/src/core.ts',
    rooms: ['projections', 'streams'],
    packages: [],
    node: false,
  },
  'event-store/internal': {
    files: 'libs/event-store/src/internal.ts',
    rooms: ['streams'],
    packages: [],
    node: false,
  },
  'event-store/testing': {
    files: 'libs/event-store/src/testing/index.ts',
    rooms: ['streams-testing'],
    packages: [],
    node: false,
  },
  'key-value-postgres': {
    files: 'libs/key-value-postgres/src/index.ts',
    rooms: ['postgres'],
    packages: [],
    node: false,
  },

  core: {
    files: 'libs/key-value-storage/src/core/**',
    rooms: [],
    packages: ['@standard-schema/spec'],
    node: false,
  },
  transfer: { files: 'libs/key-value-storage/src/transfer/**', rooms: ['core'], packages: [], node: false },
  memory: {
    files: 'libs/key-value-storage/src/providers/memory/**',
    rooms: ['core'],
    packages: [],
    node: false,
  },
  'json-file': {
    files: 'libs/key-value-storage/src/providers/json-file/**',
    rooms: ['core'],
    packages: [],
    node: true,
  },
  postgres: {
    files: 'libs/key-value-postgres/src/**',
    rooms: ['key-value-storage/provider', 'key-value-storage/internal'],
    packages: ['@nestjs-cls/transactional', 'pg', 'typeorm'],
    node: true,
  },
  nest: {
    files: 'libs/key-value-storage/src/nest/**',
    rooms: ['core'],
    packages: [
      '@nestjs/common',
      '@nestjs/core',
      '@nestjs/terminus',
      '@opentelemetry/api',
      '@standard-schema/spec',
      'reflect-metadata',
      'rxjs',
    ],
    node: true,
  },
  testing: {
    files: 'libs/key-value-storage/src/testing/**',
    rooms: ['core', 'key-value-storage/core', 'key-value-storage/provider', 'memory', 'json-file', 'nest'],
    packages: ['@nestjs/common', '@nestjs/core', '@nestjs/testing', 'fast-check'],
    node: true,
  },

  projections: {
    files: 'libs/event-store/src/core/{projections,reactions}/**',
    rooms: ['key-value-storage/core', 'key-value-storage/provider', 'key-value-storage/internal', 'streams'],
    packages: [],
    node: false,
  },
  streams: {
    files: 'libs/event-store/src/core/**',
    rooms: [
      'key-value-storage/core',
      'key-value-storage/provider',
      'key-value-storage/internal',
      'key-value-storage/internal/rows',
    ],
    packages: ['@standard-schema/spec'],
    node: false,
  },
  'streams-nest': {
    files: 'libs/event-store/src/nest/**',
    rooms: [
      'key-value-storage',
      'key-value-storage/core',
      'key-value-storage/provider',
      'key-value-storage/internal',
      'key-value-storage/internal/nest',
      'projections',
      'streams',
      'event-store/core',
    ],
    packages: [
      '@nestjs/common',
      '@nestjs/core',
      '@nestjs/cqrs',
      '@opentelemetry/api',
      'reflect-metadata',
      'rxjs',
    ],
    node: true,
  },
  'streams-testing': {
    files: 'libs/event-store/src/testing/**',
    rooms: [
      'key-value-storage',
      'key-value-storage/core',
      'key-value-storage/provider',
      'key-value-storage/internal',
      'key-value-storage/testing',
      'event-store',
      'event-store/core',
      'projections',
      'streams',
    ],
    packages: ['@nestjs/common', '@nestjs/testing', 'fast-check'],
    node: true,
  },

  cli: {
    files: 'libs/cli/src/**',
    rooms: [
      'key-value-storage/core',
      'key-value-storage/provider',
      'key-value-storage/internal',
      'key-value-storage/internal/rows',
      'key-value-storage/internal/json-file',
      'event-store/internal',
      'key-value-postgres',
    ],
    packages: ['commander', 'typescript'],
    node: true,
  },
  bin: { files: 'libs/*/bin/**', rooms: [], packages: [], node: true },
  apps: { files: 'apps/*/src/**', rooms: doors, packages: '*', node: true },
  // A provider as it could be written outside this repository.
  'custom provider': {
    files: 'test/contract/document-provider.ts',
    rooms: ['key-value-storage/provider'],
    packages: [],
    node: false,
  },
  // Fault tests import files behind the doors, to break them.
  faults: {
    files: 'test/faults/**',
    rooms: [...doors, ...internal, 'test', 'core', 'memory', 'json-file', 'testing', 'postgres'],
    packages: '*',
    node: true,
  },
  // Attacks also begin at the command line.
  security: {
    files: 'test/security/**',
    rooms: [...doors, ...internal, 'test', 'apps', 'faults', 'tooling', 'cli'],
    packages: '*',
    node: true,
  },
  // The pages of the reference are compared with the tables of errors and defaults.
  'docs tests': {
    files: 'test/docs/**',
    rooms: [...doors, 'test', 'apps', 'faults', 'tooling', 'core', 'streams', 'cli'],
    packages: '*',
    node: true,
  },
  // The model of sessions uses the batches that streams send.
  'streams tests': {
    files: 'test/streams/**',
    rooms: [...doors, ...internal, 'test', 'streams'],
    packages: '*',
    node: true,
  },
  test: {
    files: 'test/**',
    rooms: [...doors, ...internal, 'apps', 'faults', 'tooling', 'custom provider'],
    packages: '*',
    node: true,
  },
  bench: {
    files: 'bench/**',
    rooms: [...doors, 'key-value-storage/internal', 'key-value-storage/internal/nest'],
    packages: '*',
    node: true,
  },
  tooling: { files: '*.mjs', rooms: [], packages: '*', node: true },
};

const builtins = builtinModules.flatMap((name) => [name, `node:${name}`]);

/**
 * Each file is checked by the row of its room alone: eslint-plugin-boundaries evaluates every policy
 * for each import. The last override that matches a file counts, so the first row of the table is
 * the last one here.
 */
const allowedImports = Object.entries(rooms)
  .map(([name, room]) => ({
    files: [room.files],
    rules: {
      'boundaries/dependencies': [
        'error',
        {
          default: 'disallow',
          checkAllOrigins: true,
          checkUnknownLocals: true,
          policies: [
            {
              from: { file: { categories: name } },
              allow: [
                { to: { file: { categories: [name, ...room.rooms] }, module: { origin: 'local' } } },
                ...(room.node ? [{ to: { module: { origin: 'core' } } }] : []),
                ...(room.packages === '*' ? [{ to: { module: { origin: 'external' } } }] : []),
                ...(Array.isArray(room.packages) && room.packages.length > 0
                  ? [{ to: { module: { origin: 'external', source: room.packages } } }]
                  : []),
              ],
            },
          ],
        },
      ],
    },
  }))
  .toReversed();

const specs = '**/{*.spec,spec-support}.ts';

export default defineConfig({
  plugins: ['typescript'],
  jsPlugins: ['eslint-plugin-boundaries'],
  categories: { correctness: 'off' },
  options: { reportUnusedDisableDirectives: 'error' },
  ignorePatterns: ['**/dist/**', '**/fixtures/**', '**/*.cts', 'libs/cli/bundle/**', '.tmp/**'],
  settings: {
    // the category of a file is its room
    'boundaries/files': Object.entries(rooms).map(([category, { files }]) => ({ category, pattern: files })),
    'boundaries/files-single-match': true,
    'boundaries/legacy-templates': false,
    'import/resolver': {
      typescript: {
        project: 'tsconfig.json',
        conditionNames: ['kvent-source', 'types', 'import', 'node', 'default'],
      },
    },
  },
  rules: { 'boundaries/no-unknown-files': 'error' },
  overrides: [
    ...allowedImports,
    {
      files: ['**/*.ts'],
      rules: {
        eqeqeq: 'error',
        'no-array-constructor': 'error',
        'no-console': 'error',
        'no-unused-expressions': 'error',
        'no-unused-vars': [
          'error',
          { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
        ],
        'no-useless-constructor': 'error',
        'no-var': 'error',
        'object-shorthand': 'error',
        'prefer-const': 'error',
        'prefer-rest-params': 'error',
        'prefer-spread': 'error',
        'typescript/ban-ts-comment': ['error', { minimumDescriptionLength: 10 }],
        'typescript/no-duplicate-enum-values': 'error',
        'typescript/no-dynamic-delete': 'error',
        'typescript/no-empty-object-type': 'error',
        'typescript/no-explicit-any': 'error',
        'typescript/no-extra-non-null-assertion': 'error',
        'typescript/no-extraneous-class': ['error', { allowWithDecorator: true }],
        'typescript/no-invalid-void-type': 'error',
        'typescript/no-misused-new': 'error',
        'typescript/no-namespace': 'error',
        'typescript/no-non-null-asserted-nullish-coalescing': 'error',
        'typescript/no-non-null-asserted-optional-chain': 'error',
        'typescript/no-non-null-assertion': 'error',
        'typescript/no-require-imports': 'error',
        'typescript/no-this-alias': 'error',
        'typescript/no-unnecessary-type-constraint': 'error',
        'typescript/no-unsafe-declaration-merging': 'error',
        'typescript/no-unsafe-function-type': 'error',
        'typescript/no-wrapper-object-types': 'error',
        'typescript/prefer-as-const': 'error',
        'typescript/prefer-literal-enum-member': 'error',
        'typescript/prefer-namespace-keyword': 'error',
        'typescript/triple-slash-reference': 'error',

        // These need types: TypeScript 7 gives them, with `--type-aware`.
        'typescript/await-thenable': 'error',
        'typescript/consistent-type-exports': 'error',
        'typescript/no-array-delete': 'error',
        'typescript/no-base-to-string': 'error',
        'typescript/no-deprecated': 'error',
        'typescript/no-floating-promises': 'error',
        'typescript/no-for-in-array': 'error',
        'typescript/no-implied-eval': 'error',
        'typescript/no-import-type-side-effects': 'error',
        'typescript/no-misused-promises': 'error',
        'typescript/no-unnecessary-type-assertion': 'error',
        'typescript/no-unsafe-argument': 'error',
        'typescript/no-unsafe-assignment': 'error',
        'typescript/no-unsafe-call': 'error',
        'typescript/no-unsafe-member-access': 'error',
        'typescript/no-unsafe-return': 'error',
        'typescript/only-throw-error': 'error',
        'typescript/prefer-promise-reject-errors': 'error',
        'typescript/prefer-readonly': 'error',
        'typescript/restrict-plus-operands': 'error',
        'typescript/return-await': ['error', 'error-handling-correctness-only'],
        'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      },
    },
    {
      // Not where decorators are: a class in a decorated signature is needed at run time.
      files: ['libs/**/*.ts', 'bench/**/*.ts', 'test/faults/**/*.ts'],
      excludeFiles: ['libs/*/src/nest/**', 'bench/contenders/**', '**/*.spec.ts'],
      rules: { 'typescript/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }] },
    },
    {
      files: ['libs/key-value-storage/src/core/**/*.ts', 'libs/event-store/src/core/**/*.ts'],
      excludeFiles: [specs],
      rules: {
        'no-restricted-imports': [
          'error',
          {
            paths: builtins,
            patterns: [{ group: ['node:*', '@nestjs/*'], message: 'The core is pure TypeScript.' }],
          },
        ],
        'no-restricted-globals': ['error', 'process', 'Buffer', 'require', '__dirname', '__filename'],
      },
    },
    {
      files: ['libs/**/*.ts'],
      excludeFiles: [specs, 'libs/*/src/testing/**'],
      rules: {
        'no-restricted-properties': [
          'error',
          {
            object: 'AbortSignal',
            property: 'any',
            message:
              'On Node 20 each call leaves memory with a signal that lives long: use `onAbort` or `withAbort`.',
          },
        ],
      },
    },
    {
      // Packages are imported by name. The tests that may import files behind the doors are exempt.
      files: ['apps/**/*.ts', 'bench/**/*.ts', 'test/**/*.ts'],
      excludeFiles: ['test/faults/**', 'test/security/**', 'test/docs/**', 'test/streams/**'],
      rules: {
        'no-restricted-imports': [
          'error',
          { patterns: [{ regex: '^\\.{1,2}/(.*/)?libs/', message: 'Import the package by its name.' }] },
        ],
      },
    },
    {
      files: ['apps/*/src/main.ts', 'bench/**/*.ts', 'test/faults/crash.ts'],
      rules: { 'no-console': 'off' },
    },
  ],
});
