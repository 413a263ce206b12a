/**
 * Law 12, cancellation: an aborted call ends at once and states its effect: 'none' only if nothing
 * was written. A caller repeats a call with 'none' without any risk. Batches of other callers that
 * share a statement or a group must not be affected.
 */
import assert from 'node:assert/strict';
import { getEventListeners, setMaxListeners } from 'node:events';
import { isStorageError } from '../../../core.js';
import type { CommitResult } from '../../../provider.js';
import { breaks } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { concurrently, assertRejects } from '../../kit/assertions.js';
import { put, sum } from '../../kit/batches.js';

const law = 12;

export const cancellationClauses: readonly Clause[] = [
  {
    name: 'A commit with an aborted signal rejects with ABORTED, and changes nothing.',
    law,
    broken: breaks('ignores the signal of a commit', (provider) => ({
      commit: (batches) => provider.commit(batches),
    })),
    async run(subject) {
      const address = subject.address('one');
      const batch = subject.batch({ changes: [put(address, '1'), sum(subject.address('count'), 1)] });
      const error = await assertRejects('ABORTED', 'a commit', () =>
        subject.provider.commit([batch], { signal: AbortSignal.abort('the cause') }),
      );
      assert.deepEqual([error.effect, error.cause], ['none', 'the cause']);
      assert.deepEqual((await subject.scanPage()).rows, []);
    },
  },
  {
    name: 'A read and a scan with an aborted signal reject with ABORTED.',
    law,
    broken: breaks('ignores the signal of a page', (provider) => ({
      scan: (ranges) => provider.scan(ranges),
    })),
    async run(subject) {
      const { key: _, ...space } = subject.address('');
      const signal = AbortSignal.abort();
      assert.equal(
        (
          await assertRejects('ABORTED', 'a read', () =>
            subject.provider.read([subject.address('one')], { signal }),
          )
        ).effect,
        'none',
      );
      assert.equal(
        (
          await assertRejects('ABORTED', 'a page', () =>
            subject.provider.scan([{ ...space, limit: 1 }], { signal }),
          )
        ).effect,
        'none',
      );
    },
  },
  {
    name: 'An abort after the result changes nothing.',
    law,
    broken: breaks('undoes a commit when its signal is aborted later', (provider) => ({
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        const undo = (): void => void provider.administration.drop(batches[0]?.database ?? '');
        options?.signal?.addEventListener('abort', undo, { once: true });
        return results;
      },
    })),
    async run(subject) {
      const controller = new AbortController();
      const address = subject.address('one');
      const results = await subject.provider.commit([subject.batch({ changes: [put(address, '1')] })], {
        signal: controller.signal,
      });
      const { rows } = await subject.provider.read([address], { signal: controller.signal });
      controller.abort();
      await subject.clock.advance(0);
      assert.deepEqual([results[0]?.outcome, rows.length], ['committed', 1]);
      assert.equal(await subject.readText(address), '1');
    },
  },
  {
    name: 'An abort during a call ends that call and no other; the effect ‘none’ means that nothing was written, and committed batches are stored.',
    law,
    broken: breaks('aborts all pending calls', (provider) => {
      const all = new AbortController();
      return {
        commit: async (batches, options) => {
          options?.signal?.addEventListener('abort', () => all.abort());
          const results = await provider.commit(batches, options);
          await Promise.resolve();
          await Promise.resolve();
          all.signal.throwIfAborted();
          return results;
        },
      };
    }),
    async run(subject) {
      const controller = new AbortController();
      const addresses = Array.from({ length: 50 }, (_, index) => subject.address(`key-${index}`));
      const work = concurrently(50, async (index) => {
        const batch = subject.batch({ changes: [put(addresses[index] as (typeof addresses)[number], '1')] });
        const aborted = index % 10 === 3;
        return await outcomeOf(
          subject.provider.commit([batch], aborted ? { signal: controller.signal } : {}),
          aborted,
        );
      });
      controller.abort();
      const results = await work;
      // an unknown outcome is decided once a later commit has its result
      await subject.putRow(subject.address('later'), '1');
      const { rows } = await subject.provider.read(addresses);
      for (const [index, result] of results.entries()) {
        if (index % 10 !== 3) assert.equal(result, 'committed', 'another call must be committed');
        if (result !== 'unknown') assert.equal(rows[index] !== undefined, result === 'committed');
      }
    },
  },
  {
    name: 'A call removes its listener from the signal: a thousand calls with one signal leave none.',
    law,
    broken: breaks('leaves listeners on signals', (provider) => ({
      read: (addresses, options) => {
        options?.signal?.addEventListener('abort', () => undefined);
        return provider.read(addresses, options);
      },
    })),
    async run(subject) {
      const { signal } = new AbortController();
      setMaxListeners(0, signal);
      const { key: _, ...space } = subject.address('');
      for (let round = 0; round < 20; round += 1) {
        await concurrently(50, (index) =>
          subject.provider.read([subject.address(`key-${index}`)], { signal }),
        );
      }
      await subject.provider.scan([{ ...space, limit: 1 }], { signal });
      await subject.provider.commit([subject.batch({ changes: [put(subject.address('one'), '1')] })], {
        signal,
      });
      assert.equal(getEventListeners(signal, 'abort').length, 0, 'listeners remain');
    },
  },
];

/** `committed`, or the effect that the error of an aborted call states. */
async function outcomeOf(work: Promise<readonly CommitResult[]>, mayAbort: boolean): Promise<string> {
  try {
    const [result] = await work;
    if (result?.outcome === 'failed') throw result.error;
    return result?.outcome ?? 'no result';
  } catch (error) {
    if (!mayAbort) return assert.fail(`a call that was not aborted failed: ${String(error)}`);
    return isStorageError(error, 'ABORTED')
      ? error.effect
      : assert.fail(`an aborted call was rejected with ${String(error)}`);
  }
}
