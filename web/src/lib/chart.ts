// Rows of a query as lines or bars: which columns can be drawn, where each value is, and which marks an axis has.
import { brief, plain } from './json';
import type { Result } from './sql';

export type Shape = 'line' | 'bar';
export type Axis = 'number' | 'time' | 'text';
export type Drawn = { x: number; label: string; values: (number | undefined)[] };
export type Chart = { axis: Axis; points: Drawn[]; left: number; min: number; max: number };

const NUMBER = /^(smallint|integer|bigint|numeric|real|double)/;
const TIME = /^(date|timestamp)/;
/** More bars cannot be told apart; a line of more points is one of every so many. */
export const BARS_MAX = 60;
const POINTS_MAX = 2_000;
/** Series beyond that cannot be told apart without colours. */
export const SERIES_MAX = 3;

/** Columns whose values have a height. */
export function heights(result: Result): string[] {
  return result.columns.filter((it) => NUMBER.test(it.type)).map((it) => it.name);
}

export function axisOf(result: Result, x: string): Axis {
  const type = result.columns.find((it) => it.name === x)?.type ?? '';
  return NUMBER.test(type) ? 'number' : TIME.test(type) ? 'time' : 'text';
}

/** What is drawn if nobody has chosen: the first column that is no number along, the first one that is upwards. */
export function first(result: Result): { x: string; y: string[]; shape: Shape } | undefined {
  const up = heights(result);
  const x = result.columns.find((it) => !up.includes(it.name))?.name ?? (up.length > 1 ? up[0] : undefined);
  const y = up.find((it) => it !== x);
  if (x === undefined || y === undefined) return undefined;
  return { x, y: [y], shape: axisOf(result, x) === 'text' ? 'bar' : 'line' };
}

function height(value: unknown): number | undefined {
  if (value === null || value === undefined) return undefined;
  const number = Number(plain(value));
  return Number.isFinite(number) ? number : undefined;
}

/** Lays rows out. Rows without a place on the axis are left out. */
export function lay(result: Result, x: string, y: string[], shape: Shape): Chart {
  const [at, ups] = [result.columns.findIndex((it) => it.name === x), y.map((name) => result.columns.findIndex((it) => it.name === name))];
  const axis = shape === 'bar' ? 'text' : axisOf(result, x);
  let points = result.rows.flatMap((row, n): Drawn[] => {
    const value = row[at];
    const place = axis === 'text' ? n : axis === 'time' ? Date.parse(zoned(plain(value))) : height(value);
    if (place === undefined || !Number.isFinite(place)) return [];
    return [{ x: place, label: value === null ? 'NULL' : typeof value === 'string' ? value : brief(value, 80), values: ups.map((up) => height(row[up])) }];
  });
  if (axis !== 'text') points.sort((a, b) => a.x - b.x);
  const all = points.length;
  const max = shape === 'bar' ? BARS_MAX : POINTS_MAX;
  if (all > max) points = shape === 'bar' ? points.slice(0, max) : points.filter((_, n) => n % Math.ceil(all / max) === 0);
  const values = points.flatMap((it) => it.values.filter((value) => value !== undefined));
  return {
    axis,
    points: axis === 'text' ? points.map((it, n) => ({ ...it, x: n })) : points,
    left: all - points.length,
    // Bars begin at 0, or their lengths would say nothing.
    min: values.reduce((a, b) => Math.min(a, b), shape === 'bar' ? 0 : (values[0] ?? 0)),
    max: values.reduce((a, b) => Math.max(a, b), shape === 'bar' ? 0 : (values[0] ?? 1)),
  };
}

/** Statements have UTC as their time zone, so a time without one is UTC. */
function zoned(text: string): string {
  return /T[\d:.]+$/.test(text) ? `${text}Z` : text;
}

/** Round numbers from below `min` to above `max`, about `wanted` of them. */
export function ticks(min: number, max: number, wanted: number): number[] {
  const span = max - min || Math.abs(max) || 1;
  const raw = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((it) => it * power >= raw) ?? 10) * power;
  const start = Math.floor(min / step + 1e-9);
  const end = Math.ceil(max / step - 1e-9);
  return Array.from({ length: Math.max(2, end - start + 1) }, (_, n) => Number(((start + n) * step).toPrecision(12)));
}
