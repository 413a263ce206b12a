import { describe, expect, it } from '@jest/globals';
import { ProgressLine } from './progress-line.js';

class Screen {
  readonly isTTY?: true;
  columns = 60;
  text = '';
  now = 0;
  readonly line: ProgressLine;

  constructor(isTTY: boolean) {
    if (isTTY) this.isTTY = true;
    this.line = new ProgressLine(this, { now: () => this.now });
  }

  write(text: string): void {
    this.text += text;
  }

  show(rows: number, total?: number): string {
    this.text = '';
    this.line.show({ what: 'copying tenant:acme', rows, total });
    return this.text;
  }
}

describe('progress', () => {
  it('on a terminal is one line with a bar, written over, never wider than the screen, and gone in the end', () => {
    const screen = new Screen(true);
    expect(screen.show(500, 2_000)).toBe(
      '\r█████░░░░░░░░░░░░░░░  25 % copying tenant:acme: 500 of 2,00\u001b[K',
    );
    screen.now = 79;
    expect(screen.show(1_000, 2_000)).toBe('');
    screen.now = 80;
    expect(screen.show(2_100, 2_000)).toMatch(/^\r█{20} 100 % copying/);
    screen.line.note('a word');
    expect(screen.text).toMatch(/\r\u001b\[Ka word\n$/);
    screen.now = 200;
    expect(screen.show(3_000)).toBe('\rcopying tenant:acme: 3,000 rows\u001b[K');
    screen.line.clear();
    screen.line.clear();
    expect(screen.text.endsWith('rows\u001b[K\r\u001b[K')).toBe(true);
  });

  it('on a terminal that does not know its width takes the usual one', () => {
    const screen = new Screen(true);
    screen.columns = 0;
    expect(screen.show(500, 2_000)).toContain('copying tenant:acme: 500 of 2,000 rows');
  });

  it('elsewhere is plain lines, the first at once, at most one a second', () => {
    const screen = new Screen(false);
    expect(screen.show(0, 0)).toBe('copying tenant:acme: 0 of 0 rows\n');
    screen.now = 999;
    expect(screen.show(1, 2)).toBe('');
    screen.now = 1_000;
    expect(screen.show(2, 2)).toBe('copying tenant:acme: 2 of 2 rows\n');
    screen.line.clear();
    expect(screen.text).toBe('copying tenant:acme: 2 of 2 rows\n');
  });
});
