/**
 * The progress of a command on stderr: on a terminal one line that is overwritten, else plain
 * lines, at most one per second. (Libraries for progress bars handle stdin and Ctrl+C themselves,
 * and would end the process instead of cancelling the command.)
 */
import { printable } from '@kvent/key-value-storage/internal/rows';

/** stderr, or a substitute. */
interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

interface Progress {
  /** `copying tenant:acme (1 of 2)` */
  readonly what: string;
  readonly rows: number;
  readonly total: number | undefined;
}

const barLength = 20;
const onceEachMs = { terminal: 80, plain: 1_000 };
/** Some terminals report 0, some nothing. */
const columnsUnknown = 80;
const eraseToEnd = '\u001b[K';

export class ProgressLine {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #clean: (text: string) => string;
  #shownAt = Number.NEGATIVE_INFINITY;
  #drawn = false;

  /** `clean` makes text printable: names of tenants and paths may contain anything. */
  constructor(stream: ProgressStream, { now = (): number => performance.now(), clean = printable } = {}) {
    this.#stream = stream;
    this.#now = now;
    this.#clean = clean;
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY === true;
  }

  show({ what: given, rows, total }: Progress): void {
    const now = this.#now();
    const terminal = this.isTerminal;
    if (now - this.#shownAt < (terminal ? onceEachMs.terminal : onceEachMs.plain)) return;
    this.#shownAt = now;
    const what = this.#clean(given);
    const count = `${grouped(rows)}${total === undefined ? '' : ` of ${grouped(total)}`} rows`;
    const share = total === undefined || total === 0 ? undefined : Math.min(1, rows / total);
    if (!terminal) {
      this.#stream.write(`${what}: ${count}\n`);
      return;
    }
    const text = `${share === undefined ? '' : `${barOf(share)} `}${what}: ${count}`;
    this.#stream.write(`\r${text.slice(0, (this.#stream.columns || columnsUnknown) - 1)}${eraseToEnd}`);
    this.#drawn = true;
  }

  /** Prints a line that stays. */
  note(line: string): void {
    this.clear();
    this.#stream.write(`${this.#clean(line)}\n`);
  }

  /** Erases the progress line. */
  clear(): void {
    if (this.#drawn) this.#stream.write(`\r${eraseToEnd}`);
    this.#drawn = false;
  }
}

function barOf(share: number): string {
  const full = Math.floor(share * barLength);
  return `${'█'.repeat(full)}${'░'.repeat(barLength - full)} ${String(Math.floor(share * 100)).padStart(3)} %`;
}

export const grouped = (number: number): string => number.toLocaleString('en');
