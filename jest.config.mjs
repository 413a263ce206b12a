/**
 * Jest in native ESM (`node --experimental-vm-modules`): Nest 12 is ESM only. `test/run.mjs`
 * chooses what runs.
 */
import { availableParallelism } from 'node:os';

export default {
  rootDir: import.meta.dirname,
  roots: ['<rootDir>/libs', '<rootDir>/apps', '<rootDir>/test'],
  testMatch: ['**/*.spec.ts'],
  // Node's, which also looks for what tests have left open.
  testEnvironment: '<rootDir>/test/environment.mjs',
  // Nothing is open by then: only a busy machine takes as long as the default of a second.
  openHandlesTimeout: 30_000,
  // First condition: packages of this repository are loaded from their sources, without a build.
  testEnvironmentOptions: { customExportConditions: ['kvent-source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  resolver: '<rootDir>/test/resolve-typescript.cjs',
  modulePathIgnorePatterns: ['/dist/', '/fixtures/', '<rootDir>/.tmp/'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: {
            legacyDecorator: true,
            decoratorMetadata: true,
            useDefineForClassFields: true,
            verbatimModuleSyntax: true,
          },
        },
        module: { type: 'es6' },
      },
    ],
  },
  injectGlobals: false,
  // A server that a test asks for belongs to the run, and ends with it.
  globalSetup: '<rootDir>/test/postgres/begin-jest.mjs',
  globalTeardown: '<rootDir>/test/postgres/end-jest.mjs',
  // No test judges speed; a busy machine must not fail one. What hangs is still found.
  testTimeout: 300_000,
  // Two more than cores: tests that wait for a process, a disk or a timer leave a core to others.
  maxWorkers: availableParallelism() + 2,
  testSequencer: '<rootDir>/test/slow-first.mjs',
  cacheDirectory: '<rootDir>/.tmp/jest',
};
