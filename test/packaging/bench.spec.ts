/**
 * The bench as `npm run bench` starts it: compiled. The figures are not checked, because a machine
 * that runs tests is too busy for measurements.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { build } from './build.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const built = join(root, 'bench', 'dist');

interface Round {
  readonly callsPerSecond: number;
  readonly latenciesUs: readonly number[];
}
interface Statistics {
  median(samples: readonly number[]): number;
  percentile(samples: readonly number[], fraction: number): number;
  summarize(
    rounds: readonly Round[],
    reference: readonly Round[],
  ): Record<'callsPerSecond' | 'p50Us' | 'p99Us' | 'ratio' | 'stalls', number> & {
    readonly ratioQuartiles: readonly [number, number];
  };
}
interface Results {
  readonly machine: { readonly fileSystem: string };
  readonly suites: readonly {
    readonly works: readonly {
      readonly verb: string;
      readonly reference: string;
      readonly rows: readonly Row[];
    }[];
  }[];
  readonly opening: readonly {
    readonly contender: string;
    readonly memoryBytes: number;
    readonly dataBytes: number;
  }[];
}
interface Point {
  readonly x: number;
  readonly y: number;
}
interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly note: string;
  readonly series: readonly { readonly name: string; readonly points: readonly Point[] }[];
}
interface Drawing {
  decadesOf(values: readonly number[]): readonly number[];
  positionOf(value: number, decades: readonly number[], line: readonly [number, number]): number;
  pathOf(points: readonly Point[]): string;
  svgOf(chart: Chart): string;
}
interface PlotPage {
  withFigures(page: string, name: string, figures: string): string;
  figuresOf(chart: Chart, image: string): string;
}
interface Row {
  readonly contender: string;
  readonly ratio: number;
  readonly p99Us: number;
}

beforeAll(build);

describe('the figures of the bench', () => {
  let statistics: Statistics;

  beforeAll(async () => {
    statistics = (await import(join(built, 'statistics.js'))) as Statistics;
  });

  it('have as median the middle sample, or the mean of the two in the middle', () => {
    expect(statistics.median([9, 1, 5])).toBe(5);
    expect(statistics.median([4, 1, 9, 2])).toBe(3);
    expect(statistics.median([])).toBeNaN();
  });

  it('have percentiles by nearest rank, in numerical order', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(statistics.percentile(hundred, 0.5)).toBe(50);
    expect(statistics.percentile(hundred, 0.99)).toBe(99);
    expect(statistics.percentile([10, 9, 100], 1)).toBe(100);
    expect(statistics.percentile([7], 0)).toBe(7);
  });

  it('compare within a round, so that a slow second of the machine does not distort a ratio', () => {
    const round = (callsPerSecond: number): Round => ({ callsPerSecond, latenciesUs: [1, 2, 3] });
    const [ours, theirs] = [
      [round(200), round(20), round(220)],
      [round(100), round(10), round(110)],
    ];
    expect(statistics.summarize(ours, theirs)).toMatchObject({
      callsPerSecond: 200,
      p50Us: 2,
      p99Us: 3,
      ratio: 2,
      ratioQuartiles: [2, 2],
    });
  });

  it('count the rounds with less than half of the median', () => {
    const rounds = [100, 110, 49, 120, 51].map((callsPerSecond): Round => ({
      callsPerSecond,
      latenciesUs: [1],
    }));
    expect(statistics.summarize(rounds, rounds)).toMatchObject({ callsPerSecond: 100, stalls: 1 });
  });
});

describe('the plots of the bench', () => {
  let drawing: Drawing;
  let page: PlotPage;

  beforeAll(async () => {
    drawing = (await import(join(built, 'plots', 'svg.js'))) as Drawing;
    page = (await import(join(built, 'plots', 'page.js'))) as PlotPage;
  });

  it('have axes from the power of ten below the figures to that above, and one decade at least', () => {
    expect(drawing.decadesOf([1, 10, 1_000])).toEqual([1, 10, 100, 1_000]);
    expect(drawing.decadesOf([0.18, 43])).toEqual([0.1, 1, 10, 100]);
    expect(drawing.decadesOf([1])).toEqual([1, 10]);
    expect(drawing.decadesOf([0.001, 0.1])).toEqual([0.001, 0.01, 0.1]);
  });

  it('place values by their logarithm, and join them in their order', () => {
    const points = [1, 10, 1_000].map((x) => ({
      x: drawing.positionOf(x, [1, 10, 100, 1_000], [60, 600]),
      y: drawing.positionOf(x, [1, 10, 100, 1_000], [300, 0]),
    }));
    expect(drawing.pathOf(points)).toBe('M60 300 L240 200 L600 0');
  });

  it('draw the same figures in the same way, for a light and a dark page, and escape names', () => {
    const chart: Chart = {
      title: 'a < b & c',
      x: 'rows',
      y: 'µs',
      note: 'today',
      series: [{ name: 'memory', points: [{ x: 10, y: 3.14159 }] }],
    };
    const drawn = drawing.svgOf(chart);
    expect(drawing.svgOf(chart)).toBe(drawn);
    expect(drawn).toContain('<title>a &lt; b &amp; c</title>');
    expect(drawn).toContain('prefers-color-scheme:dark');
    expect(page.figuresOf(chart, 'p/c.svg')).toBe(
      '![a < b & c](p/c.svg)\n\n| rows | memory: µs |\n|--:|--:|\n| 10 | 3.14 |\n\ntoday',
    );
  });

  it('replace what stands at their place in the page, and nothing else', () => {
    const before = 'A\n<!-- figures: one -->\nold\n<!-- end of figures -->\nB';
    const after = page.withFigures(before, 'one', 'new');
    expect(after).toBe('A\n<!-- figures: one -->\n\nnew\n\n<!-- end of figures -->\nB');
    expect(page.withFigures(after, 'one', 'new')).toBe(after);
    expect(() => page.withFigures(before, 'two', 'new')).toThrow('<!-- figures: two -->');
  });
});

describe('a short run of the bench', () => {
  let folder: string;
  let database: FreshDatabase;

  beforeAll(async () => {
    database = await freshDatabase();
    folder = await mkdtemp(join(root, '.tmp', 'bench-'));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    await database[Symbol.asyncDispose]();
  });

  const start = async (...args: readonly string[]): Promise<string> => {
    const flags = ['--rounds', '1', '--ms', '5', '--directory', folder];
    // One server less to start. An open transaction of another test would hold the feed back.
    const env = args.includes('feed') ? {} : { BENCH_POSTGRES_URL: database.url };
    const { stdout } = await run(process.execPath, [join(built, 'main.js'), ...flags, ...args], {
      cwd: root,
      env: { ...process.env, ...env },
    });
    return stdout;
  };
  const bench = async (
    ...args: readonly string[]
  ): Promise<{ readonly printed: string; readonly results: Results }> => {
    const json = join(folder, 'results.json');
    const printed = await start('--json', json, ...args);
    return { printed, results: JSON.parse(await readFile(json, 'utf8')) as Results };
  };

  it.each([['memory'], ['file'], ['postgres'], ['events'], ['feed']])(
    'prints figures and traits of every contender, for each work of the suite %s',
    async (suite) => {
      const { printed, results } = await bench('--suite', suite, '--entries', '1000');
      const works = results.suites.flatMap((each) => each.works);
      expect(works.length).toBeGreaterThan(0);
      for (const { rows, reference } of works) {
        expect(rows.find(({ contender }) => contender === reference)?.ratio).toBe(1);
        expect(rows.filter(({ ratio, p99Us }) => !(ratio > 0) || !(p99Us > 0))).toEqual([]);
      }
      expect(printed).toContain(results.machine.fileSystem);
      expect(printed).toMatch(/survives +compares +returns/);
      if (suite === 'postgres')
        expect(printed).toMatch(
          /fsync on, synchronous_commit on.*\n[^]*conflicts: kvent [^]*\n {2}COPY .*\n {2}kvent, Postgres +[\d,]+ [^]*\n {2}16 × 1 +[\d,]+ /,
        );
      if (suite === 'events') expect(printed).toMatch(/conflicts: kvent [^]*kvent, JSON file +[\d,]+ /);
      if (suite === 'feed')
        expect(printed).toMatch(/ kvent, Postgres +1,000 +[\d,]+ [^]*another process +1 /);
      if (suite === 'file')
        expect(results.opening.map(({ contender }) => contender)).toContain('kvent, JSON file');
    },
  );

  it('measures a plot, and writes it beside the page and into it', async () => {
    const page = join(folder, 'performance.md');
    await copyFile(join(root, 'docs', 'performance.md'), page);
    await start('--plots', '--only', 'events', '--page', page);
    expect(await readFile(join(folder, 'performance', 'events.svg'), 'utf8')).toContain('</svg>');
    expect(await readFile(page, 'utf8')).toMatch(
      /performance\/events\.svg[^]*\n\| 800 \| [\d.,]+ \| [\d.,]+ \| /,
    );
  });

  it('refuses an unknown suite', async () => {
    await expect(bench('--suite', 'paper')).rejects.toThrow("got 'paper'");
  });
});
