import { timerMsMax } from '../../core/base/clock.js';
import { Inject, Injectable } from '@nestjs/common';
import { untilAborted } from '../../core/base/abort.js';
import { isStorageError } from '../../core/base/errors.js';
import { assertOptions, invalidOption } from '../../core/base/options.js';
import type { ProviderFeatures, StorageProvider } from '../../core/port/storage-provider.js';
import { StorageHost } from '../host/storage-host.js';

/** One engine on the health page. `code`: why it is down. */
export interface EngineHealth {
  readonly status: 'up' | 'down';
  readonly name: string;
  readonly features: ProviderFeatures;
  readonly code?: string;
}
/** What Terminus takes as the result of an indicator. */
export type StorageHealth<Key extends string> = Record<
  Key,
  EngineHealth & { readonly providers?: Readonly<Record<string, EngineHealth>> }
>;

/** An address that nothing is ever written to: reading it asks whether reading works. */
const probe = { database: 'shared', container: 'state:health', entity: 'health', key: 'probe' };

/**
 * Whether the storage answers, for Terminus 11 and 12: `this.health.check([() =>
 * this.storage.isHealthy('storage')])`. One tiny read of each provider; it reports their names and
 * what they promise. Terminus itself is not loaded: without it, this is a class nobody injects.
 */
@Injectable()
export class StorageHealthIndicator {
  readonly #host: StorageHost;

  constructor(@Inject(StorageHost) host: StorageHost) {
    this.#host = host;
  }

  /**
   * Never rejects for a storage that is down. `timeoutMs`: after which it counts as down. @default
   * 1_000
   */
  async isHealthy<Key extends string>(
    key: Key,
    options: { readonly timeoutMs?: number } = {},
  ): Promise<StorageHealth<Key>> {
    assertOptions('isHealthy', options, ['timeoutMs']);
    const { timeoutMs = 1_000 } = options;
    if (!(timeoutMs > 0 && timeoutMs <= timerMsMax))
      throw invalidOption(
        `isHealthy: timeoutMs is a number of milliseconds above 0; given was ${String(timeoutMs)}.`,
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
  const { name, features } = provider;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    await untilAborted(
      'The health check',
      'none',
      signal,
      provider.read([probe], { values: 'omit', signal }),
    );
    return { status: 'up', name, features };
  } catch (error) {
    // the message may name hosts and files, and health pages are often open to all
    const code =
      isStorageError(error) && error.code !== 'ABORTED'
        ? error.code
        : signal.aborted
          ? 'STORAGE_UNAVAILABLE'
          : 'UNKNOWN';
    return { status: 'down', name, features, code };
  }
}
