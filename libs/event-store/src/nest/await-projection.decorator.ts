import {
  Inject,
  Injectable,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import { TenantContext } from '@kvent/key-value-storage';
import { invalidOption, throwIfAborted } from '@kvent/key-value-storage/provider';
import { assertOptions, callSiteOf, inspect, located, timerMsMax } from '@kvent/key-value-storage/internal';
import {
  headerOf,
  httpDescription,
  isDestroyed,
  rawOf,
  type AnyRequest,
  type AnyResponse,
  type HttpDescription,
} from '@kvent/key-value-storage/internal/nest';
import type { Observable } from 'rxjs';
import type { ProjectionRunner } from '../core/projections/projection-runner.js';
import type { CaughtUpOptions } from '../core/projections/subscription-runner.js';
import { getProjectionToken, readStreamOf, type AnyProjection } from './projections.module.js';
import { PositionSeal } from './position-seal.js';
import { positionHeader, RequestPositions } from './request-positions.js';

export interface AwaitProjectionOptions {
  /** The longest wait, in milliseconds. @default 5_000 */
  readonly timeoutMs?: number | undefined;
}

/**
 * A request with the header `Kvent-Position` waits until the projection has reached this position,
 * and then its handler runs: the client reads what it has written. A request without the header
 * does not wait. Waits for the current tenant only. 503 `PROJECTION_BEHIND` with `Retry-After`
 * after the timeout, 400 `INVALID_POSITION`, 500 `PROJECTION_STOPPED`. For a method or a
 * controller, whose module imports `ProjectionsModule.forFeature` with the projection.
 * `INVALID_OPTION`.
 */
export function AwaitProjection(
  projection: AnyProjection,
  options: AwaitProjectionOptions = {},
): ClassDecorator & MethodDecorator {
  const interceptor = located(callSiteOf(AwaitProjection), () => interceptorFor(projection, options));
  return UseInterceptors(interceptor);
}

function interceptorFor(projection: AnyProjection, options: AwaitProjectionOptions): Type<NestInterceptor> {
  assertOptions('AwaitProjection', options, ['timeoutMs']);
  const { timeoutMs = 5_000 } = options;
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > timerMsMax)
    throw invalidOption(
      `AwaitProjection: timeoutMs must be a whole number of milliseconds from 1, below 2^31; got ${inspect(timeoutMs)}.`,
    );
  const { provider, scope } = readStreamOf(projection);

  @Injectable()
  class ProjectionInterceptor implements NestInterceptor {
    static readonly [httpDescription]: HttpDescription = {
      requestHeaders: { [positionHeader]: 'Of an earlier response: its changes are included.' },
      problems: { 400: '`INVALID_POSITION`', 503: '`PROJECTION_BEHIND`' },
    };
    readonly #runner: ProjectionRunner;
    readonly #tenants: TenantContext;
    readonly #seal: PositionSeal;

    constructor(
      @Inject(getProjectionToken(projection)) runner: ProjectionRunner,
      @Inject(TenantContext) tenants: TenantContext,
      @Inject(PositionSeal) seal: PositionSeal,
    ) {
      this.#runner = runner;
      this.#tenants = tenants;
      this.#seal = seal;
    }

    async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
      if (context.getType() !== 'http') return next.handle();
      const header = headerOf(context.switchToHttp().getRequest<AnyRequest>(), positionHeader);
      if (header === undefined) return next.handle();
      const position = (await RequestPositions.openedWith(this.#seal, header)).of(provider);
      if (position === undefined) return next.handle();
      // events of shared streams belong to no tenant
      const tenant = scope === 'shared' ? undefined : this.#tenants.current();
      const response = context.switchToHttp().getResponse<AnyResponse>();
      await whileConnected(response, async (signal) => {
        const wanted: CaughtUpOptions = { position, tenant, timeoutMs, signal };
        await this.#runner.whenCaughtUp(wanted);
      });
      return next.handle();
    }
  }
  return ProjectionInterceptor;
}

/** Ends the wait of a client that has closed its connection, also before: `ABORTED`. */
async function whileConnected(
  response: AnyResponse,
  wait: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const closed = new AbortController();
  const raw = rawOf(response);
  const close = (): void => closed.abort();
  raw.once('close', close);
  if (isDestroyed(response)) close();
  try {
    await wait(closed.signal);
  } catch (error) {
    throwIfAborted('The wait for a projection', closed.signal);
    throw error;
  } finally {
    raw.off('close', close);
  }
}
