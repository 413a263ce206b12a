import { describe, expect, it } from '@jest/globals';
import { partlyDone, stoppedAfter, StorageError, storageError } from './errors.js';

describe('code and effect', () => {
  it('agree whatever the maker of the error says: an unknown outcome is an unknown effect', () => {
    const kind = { status: 504, title: 'Unknown', retryable: false };
    for (const error of [
      storageError('STORAGE_OUTCOME_UNKNOWN', 'Lost.', {}),
      storageError('STORAGE_OUTCOME_UNKNOWN', 'Lost.', {}, { effect: 'none' }),
      new StorageError('STORAGE_OUTCOME_UNKNOWN', 'Lost.', kind, {}, { effect: 'none' }),
    ]) {
      expect([error.code, error.effect]).toEqual(['STORAGE_OUTCOME_UNKNOWN', 'unknown']);
    }
    expect(storageError('STORAGE_UNAVAILABLE', 'Away.', {}).effect).toBe('none');
    expect(storageError('ABORTED', 'Given up.', {}, { effect: 'unknown' }).effect).toBe('unknown');
  });

  it('of work that stopped on its way say that something was done, and how much', () => {
    const error = storageError('STORAGE_UNAVAILABLE', 'Away.', {});
    expect(partlyDone(error, 3)).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'unknown', done: 3 });
    expect(stoppedAfter(error, 3, 'The import stopped after 3 rows.').message).toContain(
      'The import stopped after 3 rows.',
    );
    expect(stoppedAfter(error, 0, 'The import stopped.')).toMatchObject({ effect: 'none', done: 0 });
  });
});
