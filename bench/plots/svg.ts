/**
 * Line charts with two logarithmic axes as SVG. A few lines instead of a library: those for charts
 * need a browser or a megabyte, and a chart here is decades, lines and a legend. Its colours follow
 * the scheme of the reader, and its text is the same in each run of the same figures.
 */
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}
export interface Point {
  readonly x: number;
  readonly y: number;
}
export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  /** The line below the chart: the machine and the date. */
  readonly note: string;
  readonly series: readonly Series[];
}

const size = { width: 640, height: 380 };
const area = { left: 64, right: 616, top: 64, bottom: 312 };

/** The powers of ten from that at or below the smallest value to that at or above the largest. */
export function decadesOf(values: readonly number[]): readonly number[] {
  const exponent = (value: number, round: (value: number) => number): number =>
    // what floating point makes of a power of ten
    round(Number(Math.log10(value).toFixed(9)));
  const first = exponent(Math.min(...values), Math.floor);
  const last = Math.max(exponent(Math.max(...values), Math.ceil), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => Number(`1e${first + index}`));
}

/** The position of a value between two powers of ten, on a line from `from` to `to`. */
export function positionOf(
  value: number,
  decades: readonly number[],
  [from, to]: readonly [number, number],
): number {
  const [low, high] = [Math.log10(decades[0] as number), Math.log10(decades.at(-1) as number)];
  const position = from + ((to - from) * (Math.log10(value) - low)) / (high - low);
  return Math.round(position * 10) / 10;
}

/** The commands of a path through points. */
export const pathOf = (points: readonly Point[]): string =>
  points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${x} ${y}`).join(' ');

export const numberText = (value: number): string =>
  value >= 1e6 ? `${value / 1e6} M` : value.toLocaleString('en', { maximumFractionDigits: 6 });

export function svgOf({ title, x, y, note, series }: Chart): string {
  const points = series.flatMap((each) => each.points);
  const xs = decadesOf(points.map((point) => point.x));
  const ys = decadesOf(points.map((point) => point.y));
  const xOf = (value: number): number => positionOf(value, xs, [area.left, area.right]);
  const yOf = (value: number): number => positionOf(value, ys, [area.bottom, area.top]);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${style}</style>`,
    text(area.left, 22, title, 'title'),
    ...series.map((each, index) => legend(each.name, index)),
    ...ys.flatMap((value) => [
      `<path class="grid" d="M${area.left} ${yOf(value)} L${area.right} ${yOf(value)}"/>`,
      text(area.left - 8, yOf(value) + 4, numberText(value), 'end'),
    ]),
    ...xs.flatMap((value) => [
      `<path class="grid" d="M${xOf(value)} ${area.top} L${xOf(value)} ${area.bottom}"/>`,
      text(xOf(value), area.bottom + 18, numberText(value), 'middle'),
    ]),
    text((area.left + area.right) / 2, area.bottom + 38, x, 'middle'),
    `<text class="middle" transform="translate(16 ${(area.top + area.bottom) / 2}) rotate(-90)">${escaped(y)}</text>`,
    ...series.flatMap((each, index) => {
      const placed = each.points.map((point) => ({ x: xOf(point.x), y: yOf(point.y) }));
      return [
        `<path class="line s${index}" d="${pathOf(placed)}"/>`,
        ...placed.map((point) => `<circle class="s${index}" cx="${point.x}" cy="${point.y}" r="3"/>`),
      ];
    }),
    text(area.left, size.height - 8, note, 'note'),
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

/** Dashes too: some readers cannot distinguish lines by their colours. */
const colours = [
  { light: '#0969da', dark: '#4493f8', dash: 'none' },
  { light: '#1a7f37', dark: '#3fb950', dash: '6 3' },
  { light: '#bc4c00', dark: '#db6d28', dash: '2 3' },
] as const;
const coloured = (scheme: 'light' | 'dark'): string =>
  colours
    .map((each, index) => `.s${index}{stroke:${each[scheme]}}circle.s${index}{fill:${each[scheme]}}`)
    .join('');
const style = [
  'text{font:12px system-ui,sans-serif;fill:#59636e}.title{font-weight:600;font-size:14px;fill:#1f2328}.note{font-size:10px}',
  '.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:#d1d9e0}.line{fill:none;stroke-width:2}',
  colours.map(({ dash }, index) => `.line.s${index}{stroke-dasharray:${dash}}`).join(''),
  coloured('light'),
  `@media (prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#f0f6fc}.grid{stroke:#3d444d}${coloured('dark')}}`,
].join('');

const text = (x: number, y: number, content: string, className: string): string =>
  `<text class="${className}" x="${x}" y="${y}">${escaped(content)}</text>`;
const escaped = (content: string): string => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

function legend(name: string, index: number): string {
  const x = area.left + index * 180;
  return `<path class="line s${index}" d="M${x} 44 L${x + 28} 44"/>${text(x + 36, 48, name, 'start')}`;
}
