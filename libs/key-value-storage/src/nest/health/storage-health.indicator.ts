import { timerMsMax } from '../../core/base/clock.js';
import { Inject, Injectable } from '@nestjs/common';
import { untilAborted } from '../../core/base/abort.js';
import { isStorageError } from '../../core/base/errors.js';
import { assertOptions, invalidOption } from '../../core/base/options.js';
import type { ProviderFeatures, StorageProvider } from '../../core/port/storage-provider.js';
import { StorageHost } from '../host/storage-host.js';

/** The health of one provider. `code` is the reason when it is down. */
export interface EngineHealth {
  readonly status: 'up' | 'down';
  readonly features: ProviderFeatures;
  readonly code?: string;
}
/** The result of an indicator for Terminus. */
export type StorageHealth<Key extends string> = Record<
  Key,
  EngineHealth & { readonly providers?: Readonly<Record<string, EngineHealth>> }
>;

/** An address that is never written. Reading it checks that reads work. */
const probe = { database: 'shared', container: 'state:health', entity: 'health', key: 'probe' };

/**
 * A health indicator for Terminus 11 and 12: `this.health.check([() =>
 * this.storage.isHealthy('storage')])`. It reads one small row of each provider, and reports
 * their features, but not their names: these may contain a user, a host and a table, and health
 * checks are often public. It does not load Terminus.
 */
@Injectable()
export class StorageHealthIndicator {
  readonly #host: StorageHost;

  constructor(@Inject(StorageHost) host: StorageHost) {
    this.#host = host;
  }

  /**
   * Never rejects when the storage is down. A provider is down when the read takes longer than
   * `timeoutMs` milliseconds. @default 1_000
   */
  async isHealthy<Key extends string>(
    key: Key,
    options: { readonly timeoutMs?: number } = {},
  ): Promise<StorageHealth<Key>> {
    assertOptions('isHealthy', options, ['timeoutMs']);
    const { timeoutMs = 1_000 } = options;
    if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > timerMsMax)
      throw invalidOption(
        `isHealthy: timeoutMs must be a whole number of milliseconds from 1, below 2^31; got ${String(timeoutMs)}.`,
      );
    const { main, named } = this.#host.engines;
    const [first, others] = await Promise.all([
      healthOf(main, timeoutMs),
      Promise.all(
        Object.entries(named).map(
          async ([name, provider]) => [name, await healthOf(provider, timeoutMs)] as const,
        ),
      ),
    ]);
    const status = [first, ...others.map(([, health]) => health)].every((health) => health.status === 'up')
      ? 'up'
      : 'down';
    const health = { ...first, status, ...(others.length > 0 && { providers: Object.fromEntries(others) }) };
    return { [key]: health } as StorageHealth<Key>;
  }
}

async function healthOf(provider: StorageProvider, timeoutMs: number): Promise<EngineHealth> {
  const { features } = provider;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    await untilAborted(
      'The health check',
      'none',
      signal,
      provider.read([probe], { values: 'omit', signal }),
    );
    return { status: 'up', features };
  } catch (error) {
    // no message: it may contain hosts and files
    const code =
      isStorageError(error) && error.code !== 'ABORTED'
        ? error.code
        : signal.aborted
          ? 'STORAGE_UNAVAILABLE'
          : 'UNKNOWN';
    return { status: 'down', features, code };
  }
}
