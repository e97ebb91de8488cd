// One stream of events for everything that a tab shows. While it is broken, or is not to be had, somebody polls in its place.
import { heard } from './live.svelte';

/** A stream that the node has closed is asked for again after so long. */
const AGAIN_MS = 15_000;
/** So long is waited for the first word; something between the browser and the node may hold it back. */
const PATIENCE_MS = 5_000;

export type Heard = {
  topic: (name: string, value: unknown) => void;
  refused: (name: string, why: string) => void;
  /** Whether it speaks; while it does not, polling does. */
  speaks: (yes: boolean) => void;
};

/** Follows topics until what it returns is called. A hidden tab follows nothing. */
export function follow(topics: string[], to: Heard): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const close = (): void => {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  };
  const open = (): void => {
    close();
    const now = new EventSource(`/v1/live?topics=${topics.join(',')}`);
    source = now;
    let speaks = false;
    timer = setTimeout(() => to.speaks(false), PATIENCE_MS);
    const on = (name: string, then: (text: string) => void): void =>
      now.addEventListener(name, (message) => {
        heard();
        then(String((message as MessageEvent<string>).data));
      });
    on('topics', () => {
      clearTimeout(timer);
      speaks = true;
      to.speaks(true);
    });
    for (const name of topics) on(name, (text) => to.topic(name, JSON.parse(text)));
    on('tradewind.problem', (text) => {
      const problem = JSON.parse(text) as { topic?: string; detail?: string; title?: string };
      if (problem.topic) to.refused(problem.topic, problem.detail ?? problem.title ?? text);
    });
    now.onerror = () => {
      clearTimeout(timer);
      // What was said held until now, however long ago that was.
      if (speaks) heard();
      speaks = false;
      to.speaks(false);
      // Otherwise the browser connects again by itself.
      if (now.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_MS);
    };
  };
  const turn = (): void => (document.hidden ? close() : open());
  document.addEventListener('visibilitychange', turn);
  turn();
  return () => {
    document.removeEventListener('visibilitychange', turn);
    close();
  };
}

/** Rows by name, after what has changed of them. */
export function merge<T extends { name: string }>(rows: T[], changed: T[], gone: string[]): T[] {
  const by = new Map(rows.map((it) => [it.name, it]));
  for (const name of gone) by.delete(name);
  for (const it of changed) by.set(it.name, it);
  return [...by.values()];
}
