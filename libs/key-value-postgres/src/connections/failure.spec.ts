import { describe, expect, it } from '@jest/globals';
import { raceMark } from '../sql/general-statement.js';
import { commitErrorOf } from './failure.js';

/** As the driver throws it. */
const refusal = (code: string, message: string): Error =>
  Object.assign(new Error(message), { code, severity: 'ERROR' });

describe('The error of a commit', () => {
  it('that lost every race against other sessions is retryable, and no fault of the value', () => {
    const error = refusal('22P02', `invalid input syntax for type integer: "${raceMark}"`);
    expect(commitErrorOf(error, 'Table kvent.row', 'write')).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: true,
      effect: 'none',
    });
  });

  it('whose value the server refuses names the reason', () => {
    const error = refusal('22P02', 'invalid input syntax for type json');
    expect(commitErrorOf(error, 'Table kvent.row', 'write')).toMatchObject({ code: 'INVALID_VALUE' });
  });
});
