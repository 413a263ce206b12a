/**
 * The part of `/internal` whose types need Nest: what the module of the event store shares with
 * `KeyValueStorageModule`. No promise: any release may change or remove these names.
 */
export {
  hasSentHeaders,
  headerOf,
  isDestroyed,
  rawOf,
  setHeader,
  type AnyRequest,
  type AnyResponse,
} from './nest/http/http-exchange.js';
export { outsideRequests } from './nest/host/outside-requests.js';
export { httpDescription, type HttpDescription } from './nest/swagger/http-description.js';
export { partOf } from './nest/part-of.js';
export {
  assertOneRoot,
  definitionsIn,
  FeatureKind,
  missingRoot,
  namedModule,
  rejectUnopened,
} from './nest/start-up/feature-kind.js';
export { onceForApplication } from './nest/start-up/once-for-application.js';
export { optionalPackage } from './nest/start-up/optional-package.js';
export { hasStarted, startUpCheckSymbol, type StartUpCheck } from './nest/start-up/start-up-context.js';
