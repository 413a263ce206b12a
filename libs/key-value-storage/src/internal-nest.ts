/**
 * The part of `/internal` that loads Nest: what the module of the event store shares with
 * `KeyValueStorageModule`. No promise: any release may change or remove these names.
 */
export { callSite } from './nest/call-site.js';
export { onceForApplication } from './nest/once-for-application.js';
export {
  hasStarted,
  startUpCheckSymbol,
  startUpContextOf,
  type StartUpCheck,
  type StartUpContext,
} from './nest/start-up-checks.js';
