import { describe, expect, it } from '@jest/globals';
import { storageError } from '@kvent/key-value-storage/provider';
import { ErrorWithAdvice, failureOf } from './failure.js';

describe('a failure', () => {
  it('is one line with its code, and what to do', () => {
    const error = storageError('STORAGE_LOCKED', 'It belongs to process 7.', {});
    const { line, json } = failureOf(new ErrorWithAdvice(error, 'Stop that process.'));
    expect(line).toBe(`It belongs to process 7. [STORAGE_LOCKED, ${error.help}] Stop that process.`);
    expect(json).toEqual({ error: { code: 'STORAGE_LOCKED', message: line, effect: 'none' } });
  });

  it('of another library is one line, too, without the blanks around its line breaks', () => {
    expect(failureOf(new Error('It belongs \r\n\t to process 7.')).json.error.message).toBe(
      'It belongs to process 7.',
    );
  });

  it('that is unexpected says so', () => {
    expect(failureOf(new TypeError('x is not a function'))).toMatchObject({
      line: 'x is not a function [UNEXPECTED; --verbose prints details]',
      json: { error: { code: 'UNEXPECTED', effect: 'unknown' } },
    });
  });
});
