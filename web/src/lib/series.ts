// Numbers over time, as the node has kept them for the last day.
import { get, query } from './api';

/** When a step begins, the mean in it, and the most. */
export type Step = [at_ms: number, mean: number, most: number];
export type Series = { name: string; unit: string; points: Step[] };
export type Measured = { from_ms: number; to_ms: number; step_ms: number; series: Series[] };

/** As many points as a small chart has pixels to show. */
const POINTS = 300;

export function readSeries(names: string[], spanMs: number, signal: AbortSignal): Promise<Measured> {
  const to = Date.now();
  return get<Measured>(`/v1/metrics${query({ series: names.join(','), from: to - spanMs, to, points: POINTS })}`, signal);
}

/** Columns for a chart: times in seconds, means, and the most. Where steps are missing is a gap. */
export function columns(points: Step[], stepMs: number): [number[], (number | null)[], (number | null)[]] {
  const [times, means, mosts]: [number[], (number | null)[], (number | null)[]] = [[], [], []];
  let before = Infinity;
  for (const [at, mean, most] of points) {
    if (at - before > stepMs * 1.5) {
      times.push((before + stepMs) / 1_000);
      means.push(null);
      mosts.push(null);
    }
    times.push(at / 1_000);
    means.push(mean);
    mosts.push(most);
    before = at;
  }
  return [times, means, mosts];
}
