import type { ServerResponse } from 'node:http';
import {
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { defer, of, tap, type Observable } from 'rxjs';
import { isStorageError, storageError } from '../../core/base/errors.js';
import { inspect } from '../../core/base/inspect.js';
import { isError } from '../../core/base/kinds.js';
import { assertOptions, assertTtl, invalidOption } from '../../core/base/options.js';
import {
  digestOfContent,
  idempotencyOf,
  isSameContent,
  type IdempotentCall,
} from '../../core/commit/idempotency-record.js';
import type { Entry } from '../../core/store/entry.js';
import { KeyValueStorage, type KeyValueStore } from '../../core/store/key-value-store.js';
import { locate } from '../../core/store/open-storage.js';
import { defineState } from '../../core/store/state-definition.js';
import { outsideRequests } from '../host/outside-requests.js';
import { TenantContext } from '../tenancy/tenant-context.js';
import { rawOf, send, type AnyResponse } from '../http/http-exchange.js';
import {
  idempotentCallOf,
  type IdempotencyKeyOptions,
  type IdempotentRequest,
} from '../http/idempotency-key.decorator.js';
import { problemOf, type ProblemDetails } from '../http/problem-details.js';
import {
  captureResponse,
  headersOfBytes,
  replaceResponse,
  type CapturedResponse,
} from './response-capture.js';
import { sendsItself } from './sends-itself.js';

export interface IdempotencyInterceptorOptions extends IdempotencyKeyOptions {
  /**
   * The response headers that are kept with the response. `Vary` always is, and what describes its
   * bytes: `Content-Type`, `Content-Encoding`, `Content-Language`, `Content-Range` and the like.
   * @default ['Location', 'ETag', 'Kvent-Position']
   */
  readonly headers?: readonly string[];
  /**
   * The bytes of a body that is kept. A repeat of a request with a larger response, or with one
   * whose client left before its end, is `IDEMPOTENCY_RESPONSE_TOO_LARGE`. At most 600,000.
   * @default 65_536
   */
  readonly bodyBytesMax?: number;
  /** Milliseconds that a response is kept. @default 86_400_000 */
  readonly retentionMs?: number;
  /**
   * Milliseconds until another process may run the request after the first one has died. A running
   * request renews it. @default 60_000
   */
  readonly leaseMs?: number;
}

/** The request of a key: in progress while it has no status. */
interface KeptResponse {
  readonly digest: string;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Left out where it was too large, or was not sent to its end. */
  readonly body?: Uint8Array;
}
/** By the principal (`false`: none) and the idempotency key. */
type RequestKey = readonly [string | number | bigint | false, string];

const Responses = defineState<KeptResponse, RequestKey>('idempotent-response');
type ResponseStore = KeyValueStore<KeptResponse, RequestKey>;

const bodyBytesMaxOfAll = 600_000;
const defaults = {
  headers: ['Location', 'ETag', 'Kvent-Position'],
  bodyBytesMax: 65_536,
  retentionMs: 24 * 60 * 60 * 1_000,
  leaseMs: 60_000,
} as const;
/** Milliseconds after which no end of a response is awaited any longer whose client is gone. */
const endOverdueMs = 5_000;
/** Milliseconds before a response that was not kept is tried again; each wait is twice as long. */
const keepDelayMs = 250;
const replayedHeader = 'Idempotency-Replayed';

/** What the kept response of a key says. */
type Found =
  | { readonly outcome: 'claimed'; readonly claim: Entry<KeptResponse, RequestKey> }
  | { readonly outcome: 'kept'; readonly kept: KeptResponse };

/**
 * Runs a request with the header `Idempotency-Key` once. A repeat gets the first response: status,
 * body with the headers that describe it, `Vary`, `Location`, `ETag` and `Kvent-Position`, with
 * `Idempotency-Replayed: true`. The body is the same bytes, also if it was compressed.
 * While the first request runs, a repeat is 409 `IDEMPOTENCY_IN_PROGRESS` with `Retry-After`.
 * Another request with the same key is 422 `IDEMPOTENCY_CONFLICT`, a missing header 400
 * `IDEMPOTENCY_KEY_REQUIRED`. Keys belong to the tenant and the principal. Responses from 500 on,
 * and from 400 on those with `Retry-After` and those of an error that is `retryable`, are not kept:
 * the same request runs again. Of a response that the client did not receive to its end, only the
 * status is kept: a repeat is 409 `IDEMPOTENCY_RESPONSE_TOO_LARGE`. Streams and stores do single
 * work once with `@IdempotencyKey()`, which needs no stored response. Of several, the one nearest
 * to the handler handles the request: that of the method, else that of the controller.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor, BeforeApplicationShutdown {
  /** For the description of the route. */
  static readonly required: boolean = true;
  protected readonly options: IdempotencyInterceptorOptions = {};
  readonly #storage: KeyValueStorage;
  readonly #tenants: TenantContext;
  readonly #logger = new Logger('IdempotencyInterceptor');
  readonly #shutdown = new AbortController();

  constructor(storage: KeyValueStorage, tenants: TenantContext) {
    this.#storage = storage;
    this.#tenants = tenants;
  }

  /**
   * `@UseInterceptors(IdempotencyInterceptor.with({ required: false }))`. Throws `INVALID_OPTION`
   * for options that are not allowed.
   */
  static with(options: IdempotencyInterceptorOptions): typeof IdempotencyInterceptor {
    assertInterceptorOptions(options);
    @Injectable()
    class IdempotencyInterceptorWith extends IdempotencyInterceptor {
      static override readonly required = options.required ?? true;
      protected override readonly options = options;
    }
    return IdempotencyInterceptorWith;
  }

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    if (context.getType() !== 'http') return next.handle();
    const request = context.switchToHttp().getRequest<IdempotentRequest>();
    const response = context.switchToHttp().getResponse<AnyResponse>();
    const raw = rawOf(response);
    if (!isInCharge(this, context, raw)) return next.handle();
    const call = await idempotentCallOf(request, this.options);
    if (call === undefined) return next.handle();
    idempotencyOf(call);
    const tenant = this.#tenants.current();
    const all = this.#storage.store(Responses) as ResponseStore;
    // fixed now: the end of a response may have another context
    const store = tenant === undefined ? all : all.forTenant(tenant);
    const found = await this.#claim(store, call);
    // an interceptor outside that has stopped waiting by now subscribes to nothing
    return defer(() => {
      if (found.outcome === 'claimed') return this.#run(store, found.claim, raw, next);
      replay(raw, found.kept);
      // by the framework: on Fastify, the response of Node does not have its headers yet
      if (sendsItself(context)) send(response, '');
      return of(undefined);
    });
  }

  /** Responses whose end is awaited are kept before the storage closes. */
  beforeApplicationShutdown(): void {
    this.#shutdown.abort();
  }

  #run(
    store: ResponseStore,
    claim: Entry<KeptResponse, RequestKey>,
    response: ServerResponse,
    next: CallHandler,
  ): Observable<unknown> {
    const stop = this.#renew(store, claim);
    const { bodyBytesMax = defaults.bodyBytesMax } = this.options;
    let problem: ProblemDetails | undefined;
    const capture = captureResponse(response, {
      bodyBytesMax,
      endOverdue: () => this.#endOverdue(),
      onEnd: async (captured) => {
        const keep = (): Promise<boolean> => this.#keep(store, claim, captured, problem);
        if (await keep()) stop();
        // the response is sent now; the lease is renewed until it is kept
        else void this.#keepLater(keep).finally(stop);
      },
    });
    return next.handle().pipe(
      tap({
        next: () => capture.handled(),
        complete: () => capture.handled(),
        error: (error: unknown) => {
          problem = problemOf(error).body;
          capture.handled(problem.status);
        },
        // also when an interceptor outside does not wait any longer, and sends something else
        finalize: () => capture.ended(),
      }),
    );
  }

  async #endOverdue(): Promise<void> {
    await this.#wait(endOverdueMs);
  }

  /** Ends earlier at shutdown. */
  async #wait(ms: number): Promise<void> {
    const { access } = locate(this.#storage, {
      what: 'idempotency keys',
      scope: undefined,
      provider: undefined,
    });
    await access.watches.clock.wait(ms, this.#shutdown.signal).catch(() => undefined);
  }

  async #claim(store: ResponseStore, call: IdempotentCall): Promise<Found> {
    const { principal } = call.content as { readonly principal: RequestKey[0] | null };
    const key: RequestKey = [principal ?? false, call.key];
    const digest = (await digestOfContent(call.content)) ?? '';
    const { leaseMs = defaults.leaseMs } = this.options;
    const { entry, added } = await store.getOrAdd(key, () => ({ digest }), { ttlMs: leaseMs });
    if (added) return { outcome: 'claimed', claim: entry };
    const { value } = entry;
    const idempotencyKey = call.key;
    if (!isSameContent(value.digest, digest))
      throw storageError(
        'IDEMPOTENCY_CONFLICT',
        `The idempotency key ${inspect(call.key)} was used for another request; a repeat must be the same request.`,
        { idempotencyKey },
      );
    if (value.status === undefined)
      throw storageError(
        'IDEMPOTENCY_IN_PROGRESS',
        `The first request with the idempotency key ${inspect(call.key)} is in progress.`,
        { idempotencyKey },
      );
    if (value.body === undefined)
      throw storageError(
        'IDEMPOTENCY_RESPONSE_TOO_LARGE',
        `The request with the idempotency key ${inspect(call.key)} was done with status ${value.status}; its response was not kept, because it was too large, or was not sent to its end.`,
        { idempotencyKey, firstStatus: value.status },
      );
    return { outcome: 'kept', kept: value };
  }

  /** Renews the lease until the response has ended. A failure is no failure of the request. */
  #renew(store: ResponseStore, { key }: Entry<KeptResponse, RequestKey>): () => void {
    const { leaseMs = defaults.leaseMs } = this.options;
    const renew = (): void => void store.touch(key, { ttlMs: leaseMs }).catch(() => undefined);
    const timer = outsideRequests(() => setInterval(renew, Math.ceil(leaseMs / 3)).unref());
    return () => clearInterval(timer);
  }

  /** Tries again while the storage does not respond, for as long as a lease without renewals. */
  async #keepLater(keep: () => Promise<boolean>): Promise<void> {
    const { leaseMs = defaults.leaseMs } = this.options;
    let waited = 0;
    for (let delay = keepDelayMs; waited < leaseMs && !this.#shutdown.signal.aborted; delay *= 2) {
      await this.#wait(delay);
      waited += delay;
      if (await keep()) return;
    }
  }

  /** Whether nothing is left to be done; the response is sent also where it cannot be kept. */
  async #keep(
    store: ResponseStore,
    claim: Entry<KeptResponse, RequestKey>,
    { status, headers, body }: CapturedResponse,
    problem: ProblemDetails | undefined,
  ): Promise<boolean> {
    const { retentionMs: ttlMs = defaults.retentionMs, headers: names = defaults.headers } = this.options;
    try {
      const mayRunAgain = headers['retry-after'] !== undefined || problem?.retryable === true;
      if (status >= 500 || (status >= 400 && mayRunAgain)) {
        await store.delete(claim.key, { ifMatch: claim });
        return true;
      }
      const kept: Record<string, string> = {};
      for (const name of [...headersOfBytes, 'Vary', ...names]) {
        const value = headers[name.toLowerCase()];
        if (value !== undefined) kept[name] = String(value);
      }
      const response = claim.with({ status, headers: kept, ...(body && { body }) });
      await store.save(response, { ttlMs }).catch(async (error: unknown) => {
        // the lease of a request that stood still has ended, and no other request has its key
        if (!isStorageError(error, 'STORAGE_CONFLICT') || error.actual !== undefined) throw error;
        await store.add(claim.key, response.value, { ttlMs });
      });
      return true;
    } catch (error) {
      // another request has its key by now, or it is kept: the answer to that was lost
      if (isStorageError(error, 'STORAGE_CONFLICT') || isStorageError(error, 'KEY_EXISTS')) return true;
      this.#logger.error('A response could not be kept.', isError(error) ? error.stack : String(error));
      return false;
    }
  }
}

interface Turn {
  readonly kind: unknown;
  /** How many more of its kind are nearer to the handler. */
  readonly nearer: number;
}
const turns = new WeakMap<ServerResponse, Turn>();

/**
 * Whether this interceptor is the one that handles the request: of those on the controller and on
 * the method, the one nearest to the handler, whose options are the most specific. The others do
 * nothing, because a request has one claim. `INVALID_OPTION` for two global ones of different
 * options, of which neither is more specific.
 */
function isInCharge(
  interceptor: IdempotencyInterceptor,
  context: ExecutionContext,
  response: ServerResponse,
): boolean {
  const kind = interceptor.constructor;
  const isOfKind = (each: unknown): boolean => each === interceptor || each === kind;
  const declared = [context.getClass(), context.getHandler()]
    .flatMap((target) => (Reflect.getMetadata('__interceptors__', target) ?? []) as unknown[])
    .filter(isIdempotencyInterceptor);
  if (declared.length > 0 && !isOfKind(declared.at(-1))) return false;
  const before = turns.get(response) ?? { kind, nearer: Math.max(declared.filter(isOfKind).length, 1) };
  if (before.kind !== kind)
    throw invalidOption(
      'IdempotencyInterceptor: two with different options handle this request; leave one of them out, or put it on the controller or the method.',
    );
  const nearer = before.nearer - 1;
  turns.set(response, { kind, nearer });
  return nearer === 0;
}

/** A class or an instance, as `@UseInterceptors` takes them. */
const isIdempotencyInterceptor = (each: unknown): boolean =>
  each instanceof IdempotencyInterceptor ||
  each === IdempotencyInterceptor ||
  (typeof each === 'function' && each.prototype instanceof IdempotencyInterceptor);

function replay(
  response: ServerResponse,
  { status = 200, headers = {}, body = new Uint8Array() }: KeptResponse,
): void {
  replaceResponse(response, { status, headers: { ...headers, [replayedHeader]: 'true' }, body });
}

function assertInterceptorOptions(options: IdempotencyInterceptorOptions): void {
  const owner = 'IdempotencyInterceptor.with';
  assertOptions(owner, options, ['required', 'principal', ...Object.keys(defaults)]);
  const { retentionMs, leaseMs, bodyBytesMax = 0, headers = [] } = options;
  for (const ttlMs of [retentionMs, leaseMs]) if (ttlMs !== undefined) assertTtl(owner, ttlMs);
  if (!Number.isInteger(bodyBytesMax) || bodyBytesMax < 0 || bodyBytesMax > bodyBytesMaxOfAll)
    throw invalidOption(
      `${owner}: bodyBytesMax must be a whole number from 0 to ${bodyBytesMaxOfAll}; got ${inspect(bodyBytesMax)}.`,
    );
  if (!Array.isArray(headers) || headers.some((name) => typeof name !== 'string'))
    throw invalidOption(`${owner}: headers must be an array of names; got ${inspect(headers)}.`);
}
