// The node's metrics, as Prometheus reads them, and what they say over time while the console is open.
import { send } from './api';
import { Live } from './live.svelte';
import { readMetrics, type Sample } from './prometheus';

const WANTED: ReadonlySet<string> = new Set([
  'tradewind_stream_end',
  'tradewind_stream_events',
  'tradewind_view_lag_events',
  'tradewind_view_lag_seconds',
  'tradewind_view_events_per_second',
  'tradewind_view_state_bytes',
  'tradewind_http_refused_total',
  'tradewind_http_requests_total',
]);

export type StreamFigures = { end: number; events: number; rate: number | undefined };
export type ViewFigures = { lagEvents: number; lagSeconds: number; rate: number; stateBytes: number };
export type Point = { at: number; value: number };

/** How many points a line has: ten minutes, a point every two seconds. */
const POINTS_MAX = 300;
/** Rates are means of about so long: the node counts once a second, which is rough over two seconds. */
const RATE_MS = 6_000;

class Figures {
  streams = $state.raw<Map<string, StreamFigures>>(new Map());
  views = $state.raw<Map<string, ViewFigures>>(new Map());
  rates = $state.raw<Point[]>([]);
  lags = $state.raw<Point[]>([]);
  errors = $state.raw<Point[]>([]);
  #past: { at: number; ends: Map<string, number>; failed: number }[] = [];

  readonly live = new Live<Sample[]>(
    async (signal) => readMetrics(await (await send('GET', '/metrics', { signal })).text(), WANTED),
    2_000,
    (samples) => this.#take(samples),
  );

  #take(samples: Sample[]): void {
    const at = Date.now();
    const ends = new Map<string, number>();
    const events = new Map<string, number>();
    const views = new Map<string, ViewFigures>();
    let failed = 0;
    for (const { name, labels, value } of samples) {
      const view = labels.view?.replace(/^projection\//, '');
      if (name === 'tradewind_stream_end') ends.set(labels.stream ?? '', value);
      else if (name === 'tradewind_stream_events') events.set(labels.stream ?? '', value);
      else if (name === 'tradewind_http_refused_total') failed += value;
      else if (name === 'tradewind_http_requests_total') failed += labels.status?.startsWith('5') ? value : 0;
      else if (view !== undefined) {
        const figures = views.get(view) ?? { lagEvents: 0, lagSeconds: 0, rate: 0, stateBytes: 0 };
        if (name === 'tradewind_view_lag_events') figures.lagEvents = value;
        if (name === 'tradewind_view_lag_seconds') figures.lagSeconds = value;
        if (name === 'tradewind_view_events_per_second') figures.rate = value;
        if (name === 'tradewind_view_state_bytes') figures.stateBytes = value;
        views.set(view, figures);
      }
    }
    const before = this.#past.find((it) => at - it.at <= RATE_MS * 2) ?? this.#past.at(-1);
    const perSecond = (now: number, then: number | undefined): number | undefined =>
      before && then !== undefined ? Math.max(0, (now - then) / ((at - before.at) / 1_000)) : undefined;
    const streams = new Map<string, StreamFigures>();
    let [total, known] = [0, 0];
    for (const [name, end] of ends) {
      const rate = perSecond(end, before?.ends.get(name));
      streams.set(name, { end, events: events.get(name) ?? 0, rate });
      // What the platform writes about itself is no news.
      if (rate !== undefined && !name.startsWith('$')) [total, known] = [total + rate, known + 1];
    }
    [this.streams, this.views] = [streams, views];
    const add = (points: Point[], value: number): Point[] => [...points, { at, value }].slice(-POINTS_MAX);
    if (known > 0 || before) this.rates = add(this.rates, total);
    this.lags = add(this.lags, [...views.values()].reduce((sum, view) => sum + view.lagEvents, 0));
    this.errors = add(this.errors, perSecond(failed, before?.failed) ?? 0);
    this.#past = [...this.#past.filter((it) => at - it.at < RATE_MS), { at, ends, failed }];
  }
}

export const figures = new Figures();
