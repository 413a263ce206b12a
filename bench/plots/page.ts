/**
 * The page of the plots: its prose is written by hand, and between two comments stand an image and
 * a table, made of the figures.
 */
import { numberText, type Chart } from './svg.js';

/** Replaces what stands between the comments of a chart. Throws if the page has none. */
export function withFigures(page: string, name: string, figures: string): string {
  const [begin, end] = [`<!-- figures: ${name} -->`, '<!-- end of figures -->'];
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from === -1 || to === -1) throw new Error(`The page must have '${begin}' and '${end}'.`);
  return `${page.slice(0, from + begin.length)}\n\n${figures}\n\n${page.slice(to)}`;
}

/** One line for each x, one column for each series. */
export function figuresOf(chart: Chart, image: string): string {
  const { series, title, x, y, note } = chart;
  const xs = [...new Set(series.flatMap((each) => each.points.map((point) => point.x)))].toSorted(
    (one, other) => one - other,
  );
  const cellOf = (points: Chart['series'][number]['points'], at: number): string => {
    const point = points.find((each) => each.x === at);
    return point === undefined ? '' : figureText(point.y);
  };
  return [
    `![${title}](${image})`,
    '',
    `| ${[x, ...series.map(({ name }) => `${name}: ${y}`)].join(' | ')} |`,
    `|${'--:|'.repeat(series.length + 1)}`,
    ...xs.map(
      (at) => `| ${[numberText(at), ...series.map(({ points }) => cellOf(points, at))].join(' | ')} |`,
    ),
    '',
    note,
  ].join('\n');
}

/** Three digits: the others differ in each run. */
const figureText = (value: number): string =>
  Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 4 });
