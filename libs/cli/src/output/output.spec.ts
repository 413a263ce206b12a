import { describe, expect, it } from '@jest/globals';
import { Output, type OutputStream } from './output.js';

class Stream implements OutputStream {
  readonly isTTY: boolean = false;
  written = '';
  failure: NodeJS.ErrnoException | undefined;
  #listener: (error: NodeJS.ErrnoException) => void = () => undefined;

  write(text: string, done?: (error?: Error | null) => void): void {
    if (this.failure === undefined) this.written += text;
    else this.#listener(this.failure);
    done?.(this.failure);
  }

  on(_event: 'error', listener: (error: NodeJS.ErrnoException) => void): void {
    this.#listener = listener;
  }
}

const failure = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });
const hide = (text: string): string => text.replaceAll('s3cret', '***');
const begin = (): { out: Stream; err: Stream; output: Output } => {
  const [out, err] = [new Stream(), new Stream()];
  return { out, err, output: new Output(out, err, hide) };
};

describe('the output', () => {
  it('holds no password and no control character, on either stream', async () => {
    const { out, err, output } = begin();
    output.log('s3cret\nforged', '\u001b[2J\u0007\u202e');
    await output.result('a\tb\u009b31m', 's3cret');
    expect([err.written, out.written]).toEqual([
      '***\\nforged\n\\u001b[2J\\u0007\\u202e\n',
      'a\\tb\\u009b31m\n***\n',
    ]);
  });

  it('as JSON is the same JSON for programs', async () => {
    const { out, output } = begin();
    const json = { name: 'a\u202e\u0085\u2028"', rows: 1, value: { message: 's3cret', file: ['s3cret'] } };
    await output.json(json);
    expect(out.written).not.toMatch(/[\u0080-\uffff]/);
    expect(JSON.parse(out.written)).toEqual(json);
  });

  it('as JSON holds no password in messages and in names of places', async () => {
    const { out, output } = begin();
    const report = (text: string): object => ({
      ...{ storage: text, from: text, to: text, file: text, notes: [text] },
      error: { code: 's3cret', message: text },
      failures: [{ line: 1, message: text }],
      databases: [{ database: 's3cret', damage: [{ place: text, what: text }] }],
      damage: undefined,
    });
    await output.json(report('at s3cret'));
    expect(JSON.parse(out.written)).toEqual(report('at ***'));
  });

  it('holds stored data as it is, without control characters', async () => {
    const { out, output } = begin();
    await output.result({ text: 's3cret\u001b', isData: true });
    expect(out.written).toBe('s3cret\\u001b\n');
  });

  it('to a closed pipe is no failure, and aborts the signal', async () => {
    const { out, err, output } = begin();
    out.failure = err.failure = failure('EPIPE');
    await output.result('done');
    expect(output.brokenPipe.aborted).toBe(false);
    output.log('a line');
    expect(output.brokenPipe.aborted).toBe(true);
  });

  it('that the disk does not take is a failure', async () => {
    const { out, output } = begin();
    out.failure = failure('ENOSPC');
    await expect(output.result('done')).rejects.toMatchObject({ code: 'ENOSPC' });
  });

  it('says whether the reader of the result is still there', async () => {
    const { out, output } = begin();
    expect(await output.result('one')).toBe(true);
    out.failure = failure('EPIPE');
    expect([await output.result('two'), await output.json({})]).toEqual([false, false]);
  });

  it('is coloured on terminals only, and not with NO_COLOR', async () => {
    const printed = async (isTTY: boolean, env: Record<string, string>): Promise<string> => {
      const out = Object.assign(new Stream(), { isTTY });
      await new Output(out, new Stream(), hide, env).result({ text: 's3cret\u001b', style: 'bad' }, 'plain');
      return out.written;
    };
    const plain = '***\\u001b\nplain\n';
    expect(await printed(true, {})).toBe('\u001b[31m***\\u001b\u001b[0m\nplain\n');
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) expect(await printed(true, env)).toBe(plain);
    expect(await printed(true, { NO_COLOR: '' })).not.toBe(plain);
    expect(await printed(false, {})).toBe(plain);
  });
});
