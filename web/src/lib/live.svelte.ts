// What is asked again and again while somebody looks: nothing while the tab is hidden, and what was seen last stays.
import { Gone, say } from './api';

/** Whether the node answers. */
export const link = $state<{ lost: number | undefined; heard: number }>({ lost: undefined, heard: 0 });

export function heard(): void {
  link.heard = Date.now();
  link.lost = undefined;
}

export function missed(): void {
  link.lost ??= link.heard || Date.now();
}

/** An answer takes at most a tenth of the time: whoever has thousands of streams is asked less often. */
const SHARE = 10;

export class Live<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state.raw<unknown>(undefined);
  /** When `data` came. */
  at = $state(0);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | undefined;
  #running = false;

  constructor(
    readonly load: (signal: AbortSignal) => Promise<T>,
    readonly everyMs = 2_000,
    readonly seen?: (data: T) => void,
  ) {}

  get message(): string | undefined {
    return this.error && !(this.error instanceof Gone) ? say(this.error) : undefined;
  }

  /** Starts; what it returns ends it. Made for `$effect(() => live.start())`. */
  start(): () => void {
    this.#running = true;
    const turn = (): void => {
      if (document.hidden) this.#pause();
      else void this.refresh();
    };
    document.addEventListener('visibilitychange', turn);
    turn();
    return () => {
      this.#running = false;
      document.removeEventListener('visibilitychange', turn);
      this.#pause();
    };
  }

  /** Removes what is asked for: it is not asked for meanwhile, nor afterwards, unless the removal is refused. */
  async remove(run: () => Promise<void>): Promise<void> {
    this.#running = false;
    this.#pause();
    try {
      await run();
    } catch (error) {
      this.#running = true;
      void this.refresh();
      throw error;
    }
  }

  /** Asks now. */
  async refresh(): Promise<void> {
    this.#pause();
    const abort = new AbortController();
    this.#abort = abort;
    const started = performance.now();
    try {
      const data = await this.load(abort.signal);
      if (abort.signal.aborted) return;
      this.data = data;
      this.error = undefined;
      this.at = Date.now();
      heard();
      this.seen?.(data);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error;
      if (error instanceof Gone) missed();
      else heard();
    }
    if (!this.#running || document.hidden) return;
    const took = performance.now() - started;
    this.#timer = setTimeout(() => void this.refresh(), Math.max(this.everyMs, took * SHARE));
  }

  #pause(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }
}
