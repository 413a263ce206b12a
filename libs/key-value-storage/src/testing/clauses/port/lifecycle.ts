/**
 * Law 11, unknown is not failed: before `open` and after `close` each call rejects with
 * STORAGE_NOT_OPEN, and `close` waits for pending calls. An error must never leave the caller in
 * doubt about an effect that the provider knows.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import { breaks, commitOne } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';
import { concurrently, assertRejects, assertThrows } from '../../kit/assertions.js';
import { put } from '../../kit/batches.js';

const law = 11;

/** Each call of the port that needs an open provider. */
function calls(
  subject: Subject,
  provider: StorageProvider,
): Readonly<Record<string, () => Promise<unknown>>> {
  const address = subject.address('one');
  const { key: _, ...space } = address;
  const { administration } = provider;
  return {
    read: () => provider.read([address]),
    'read of nothing': () => provider.read([]),
    scan: () => provider.scan([{ ...space, limit: 1 }]),
    commit: () => provider.commit([subject.batch({ changes: [put(address, '1')] })]),
    sweep: () => provider.sweep(1),
    ...(provider.feed === undefined
      ? {}
      : { feed: () => (provider.feed as NonNullable<typeof provider.feed>)({ limit: 1 }) }),
    'administration.databases': () => administration.databases(),
    'administration.spaces': () => administration.spaces(address.database),
    'administration.import': () => administration.import(address.database, []),
    'administration.drop': () => administration.drop(address.database),
  };
}

async function allRefuse(subject: Subject, provider: StorageProvider): Promise<void> {
  for (const [name, call] of Object.entries(calls(subject, provider))) {
    assert.equal((await assertRejects('STORAGE_NOT_OPEN', name, call)).effect, 'none', name);
  }
}

export const lifecycleClauses: readonly Clause[] = [
  {
    name: 'A provider that was never opened rejects every call with STORAGE_NOT_OPEN, and throws nothing synchronously.',
    law,
    broken: breaks('throws instead of rejecting', (provider) => ({
      sweep: (limit) => {
        if (limit < 0) throw new RangeError('a limit below 0');
        return provider.sweep(limit);
      },
      read: (addresses, options) =>
        addresses.length === 0 ? Promise.resolve({ time: 0, rows: [] }) : provider.read(addresses, options),
    })),
    async run(subject) {
      await allRefuse(subject, await subject.create());
    },
  },
  {
    name: 'A closed provider rejects every call with STORAGE_NOT_OPEN, and the call has no effect.',
    law,
    broken: breaks('returns rows after it was closed', (provider) => {
      let last: Awaited<ReturnType<StorageProvider['read']>> | undefined;
      return {
        read: async (addresses, options) => {
          try {
            return (last = await provider.read(addresses, options));
          } catch (error) {
            if (last === undefined) throw error;
            return last;
          }
        },
      };
    }),
    async run(subject) {
      await subject.readRow(subject.address('one'));
      await subject.provider.close();
      await allRefuse(subject, subject.provider);
      await subject.provider.open();
      assert.equal(await subject.readRow(subject.address('one')), undefined);
    },
  },
  {
    name: 'Exports and hints are refused at the call, not at the first read.',
    law,
    broken: breaks('checks at the first read of an export that it is open', (provider) => ({
      administration: {
        ...provider.administration,
        async *export(database) {
          yield* provider.administration.export(database);
        },
      },
    })),
    async run(subject) {
      await subject.provider.close();
      const { provider } = subject;
      assertThrows('STORAGE_NOT_OPEN', 'administration.export', () =>
        provider.administration.export(subject.database()),
      );
      if (provider.hints !== undefined)
        assertThrows('STORAGE_NOT_OPEN', 'hints', () => provider.hints?.([], new AbortController().signal));
      await provider.open();
    },
  },
  {
    name: 'Opening an open provider is INVALID_STATE, and leaves it open.',
    law,
    broken: breaks('loses its data when it is opened twice', (provider) => {
      let open = false;
      return {
        open: async () => {
          if (open) return;
          open = true;
          await provider.open();
        },
      };
    }),
    async run(subject) {
      await subject.putRow(subject.address('one'), '1');
      await assertRejects('INVALID_STATE', 'a second open', () => subject.provider.open());
      assert.equal(await subject.readText(subject.address('one')), '1');
    },
  },
  {
    name: 'Closing is harmless on a provider that is closed or was never opened, and concurrently.',
    law,
    broken: breaks('fails when it is closed twice', (provider) => {
      let open = false;
      return {
        open: async () => {
          await provider.open();
          open = true;
        },
        close: async () => {
          if (!open) throw new assert.AssertionError({ message: 'close failed' });
          open = false;
          await provider.close();
        },
      };
    }),
    async run(subject) {
      await (await subject.create()).close();
      await Promise.all([subject.provider.close(), subject.provider.close()]);
      await subject.provider.close();
      await subject.provider.open();
    },
  },
  {
    name: 'A closed provider can be opened again, and works as before.',
    law,
    broken: breaks('can be opened only once', (provider) => {
      let opened = 0;
      return {
        open: async () => {
          await provider.open();
          opened += 1;
        },
        commit: async (batches, options) => {
          const results = await provider.commit(batches, options);
          return opened > 1 ? results.map(() => ({ outcome: 'committed', time: 0, rows: [] })) : results;
        },
      };
    }),
    async run(subject) {
      for (let round = 0; round < 3; round += 1) {
        const address = subject.address(`round-${round}`);
        const { rows } = await subject.mustCommit({ changes: [put(address, '1')] });
        assert.deepEqual(rows, [{ existed: false }]);
        assert.equal(await subject.readText(address), '1');
        await subject.provider.close();
        await subject.provider.open();
      }
    },
  },
  {
    name: '`close` waits for pending calls: each one gets its result, and each committed batch is complete.',
    law,
    broken: breaks('abandons pending calls when it closes', (provider) => {
      let closing = false;
      return {
        close: async () => {
          closing = true;
          await provider.close();
          closing = false;
        },
        commit: async (batches, options) => {
          const results = await provider.commit(batches, options);
          if (closing) await new Promise<void>(() => undefined);
          return results;
        },
      };
    }),
    async run(subject) {
      const outcomes: string[] = [];
      const work = Array.from({ length: 50 }, async (_, index) => {
        const { outcome } = await subject.commit({
          changes: [put(subject.address(`key-${index}`), '1')],
        });
        outcomes.push(outcome);
      });
      void subject.inBackground(Promise.race([Promise.all(work), subject.provider.close()]));
      await subject.provider.close();
      await subject.clock.advance(0);
      assert.deepEqual(
        outcomes,
        Array.from({ length: 50 }, () => 'committed'),
      );
      await subject.provider.open();
      if (subject.provider.features.durable !== false) assert.equal((await subject.scanKeys()).length, 50);
    },
  },
  {
    name: 'A conflict is returned, not thrown.',
    law,
    broken: breaks('throws when there is a conflict', (provider) => ({
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        const [first] = results;
        if (first?.outcome === 'conflict') throw new assert.AssertionError({ message: 'conflict' });
        return results;
      },
    })),
    async run(subject) {
      const address = subject.address('one');
      const results = await concurrently(10, () =>
        subject.commit({ checks: [{ address, expected: 'present' }], changes: [put(address, '1')] }),
      );
      assert.ok(results.every(({ outcome }) => outcome === 'conflict'));
    },
  },
  {
    name: 'A provider has a name, and features with values of the contract.',
    law,
    broken: breaks('declares an unknown feature', (provider) => ({
      features: { ...provider.features, durable: true as unknown as 'fsync' },
    })),
    async run(subject) {
      const { name, features } = subject.provider;
      assert.ok(typeof name === 'string' && name.trim() !== '', 'it has no name');
      assert.ok(
        [false, 'fsync', 'quorum'].includes(features.durable),
        `durable is ${String(features.durable)}`,
      );
      for (const flag of ['shared', 'staleReads', 'coalesce', 'feed'] as const)
        assert.equal(typeof features[flag], 'boolean', flag);
      const { expiry } = features;
      assert.ok(expiry === 'exact' || expiry.lagMs > 0, 'expiry');
      assert.ok(
        ['ordered', 'collected'].includes(features.scan) && ['replaceable', 'own'].includes(features.clock),
      );
    },
  },
  {
    name: 'A provider does not change its arguments.',
    law,
    broken: breaks('sorts the changes of a batch in place', (provider) => ({
      commit: async (batches) =>
        await Promise.all(
          batches.map(async (batch) => {
            (batch.changes as unknown[]).reverse();
            return await commitOne(provider, batch);
          }),
        ),
    })),
    async run(subject) {
      const [a, b] = [subject.address('a'), subject.address('b')];
      const batch = subject.batch({
        checks: [{ address: a, expected: 'absent' }],
        changes: [put(b, '1'), put(a, '1')],
      });
      const addresses = [b, a];
      const before = JSON.stringify([batch, addresses]);
      await subject.provider.commit([batch]);
      await subject.provider.read(addresses);
      assert.equal(JSON.stringify([batch, addresses]), before);
      const frozen = subject.batch({ changes: Object.freeze([Object.freeze(put(a, '2'))]) });
      await subject.provider.commit(Object.freeze([Object.freeze(frozen)]));
      await subject.provider.read(Object.freeze([Object.freeze(a)]), Object.freeze({}));
      assert.equal(await subject.readText(a), '2');
    },
  },
];
