// Events as they come. What is held is bounded, what is drawn is drawn a few times in a second, and a hidden tab reads nothing.
import { parse } from './json';
import { missed, heard } from './live.svelte';
import type { CloudEvent } from './types';

/** So many streams the node brings over one connection. */
export const WATCHED_MAX = 16;
const HELD_MAX = 500;
/** Events of more than this are not held whole: 500 of them would fill the memory. */
const TEXT_MAX = 1_000_000;
const DRAW_MS = 250;

/** An event as it came, unless it is too large to be held. */
export function held(event: CloudEvent, text: string): CloudEvent {
  if (text.length > TEXT_MAX) event.data = `(${text.length} bytes: open it by its place)`;
  return event;
}

export class Tail<T> {
  events = $state.raw<T[]>([]);
  paused = $state(false);
  /** How many came while it was paused. */
  waiting = $state(0);
  total = $state(0);
  state = $state<'connecting' | 'live' | 'broken'>('connecting');
  problem = $state('');
  #source: EventSource | undefined;
  #buffer: T[] = [];
  #last = '';
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    /** Where it is read, after what came last; at first after nothing. */
    readonly path: (after: string) => string,
    /** The name of what is an event there. */
    readonly name: string,
    readonly read: (json: unknown, text: string) => T,
  ) {}

  start(): () => void {
    const turn = (): void => (document.hidden ? this.#close() : this.#open());
    document.addEventListener('visibilitychange', turn);
    turn();
    return () => {
      document.removeEventListener('visibilitychange', turn);
      this.#close();
    };
  }

  resume(): void {
    this.paused = false;
    this.#draw();
  }

  /** After the end of a stream that cannot go on where it was: begins with what comes now. */
  anew(): void {
    this.#last = '';
    this.#open();
  }

  #open(): void {
    this.#close();
    this.state = 'connecting';
    // Where it left off when the tab was hidden, exactly.
    const source = new EventSource(this.path(this.#last));
    source.onopen = () => {
      heard();
      this.state = 'live';
      this.problem = '';
    };
    source.addEventListener(this.name, (message) => {
      const { lastEventId, data } = message as MessageEvent<string>;
      this.#last = lastEventId;
      this.#take(data);
    });
    source.addEventListener('tradewind.problem', (message) => {
      this.problem = String((message as MessageEvent<string>).data).slice(0, 500);
    });
    source.onerror = () => {
      this.state = source.readyState === EventSource.CLOSED ? 'broken' : 'connecting';
      if (this.state === 'connecting') missed();
    };
    this.#source = source;
    this.#timer = setInterval(() => this.#draw(), DRAW_MS);
  }

  #close(): void {
    this.#source?.close();
    this.#source = undefined;
    clearInterval(this.#timer);
  }

  #take(text: string): void {
    this.total += 1;
    try {
      this.#buffer.push(this.read(parse(text), text));
    } catch {
      return;
    }
    if (this.#buffer.length > HELD_MAX) this.#buffer.splice(0, this.#buffer.length - HELD_MAX);
    if (this.paused) this.waiting += 1;
  }

  #draw(): void {
    if (this.paused || this.#buffer.length === 0) return;
    this.events = [...this.#buffer.reverse(), ...this.events].slice(0, HELD_MAX);
    this.#buffer = [];
    this.waiting = 0;
  }
}
