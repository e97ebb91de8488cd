// The node as a whole, asked while the console is open: what the navigation and the overview show.
import { Problem, get } from './api';
import { reasons, sentence } from './health';
import { Live, link } from './live.svelte';
import { figures } from './metrics.svelte';
import { recall, remember } from './offline';
import type { Cluster, Projection, Regions, Setting, Source, Status } from './types';

export type Facts = {
  status: Status;
  projections: Projection[];
  sources: Source[];
  cluster: Cluster | undefined;
  regions: Regions | undefined;
  /** What the node would not say, and why. */
  silent: { what: string; why: string }[];
};

/** A part of the answer that may be refused, while its coordination service is away, say: then what was known before stays. */
class Part<T> {
  #last: T | undefined;
  constructor(
    readonly what: string,
    readonly load: (signal: AbortSignal) => Promise<T>,
  ) {}

  async read(signal: AbortSignal, silent: Facts['silent']): Promise<T | undefined> {
    try {
      this.#last = await this.load(signal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      silent.push({ what: this.what, why: error.message });
    }
    return this.#last;
  }
}

/** Reads what only some installations have. Whether this one does is an option that is read when the node starts, so it is asked once. */
function where<T>(option: string, path: string): (signal: AbortSignal) => Promise<T | undefined> {
  let is: boolean | undefined;
  return async (signal) => {
    is ??= Boolean((await get<Setting>(`/v1/config/${option}`, signal)).value);
    return is ? get<T>(path, signal) : undefined;
  };
}

class Node {
  /** What was seen in an earlier visit, while the node has not answered in this one. */
  #before = $state.raw<Facts | undefined>(undefined);
  readonly #projections = new Part('projections', (signal) => get<{ projections: Projection[] }>('/v1/projections', signal));
  readonly #sources = new Part('sources', (signal) => get<{ sources: Source[] }>('/v1/sources', signal));
  readonly #cluster = new Part('cluster', where<Cluster>('cluster.enabled', '/v1/cluster'));
  readonly #regions = new Part('regions', where<Regions>('region.id', '/v1/regions'));

  readonly live = new Live<Facts>(async (signal) => {
    const silent: Facts['silent'] = [];
    const [status, projections, sources, cluster, regions] = await Promise.all([
      get<Status>('/v1/status', signal),
      this.#projections.read(signal, silent),
      this.#sources.read(signal, silent),
      this.#cluster.read(signal, silent),
      this.#regions.read(signal, silent),
    ]);
    return { status, projections: projections?.projections ?? [], sources: sources?.sources ?? [], cluster, regions, silent };
  }, 2_000, (facts) => void remember(facts, figures.streams));

  readonly facts = $derived(this.live.data ?? this.#before);

  /** Shows what was seen last, if the node does not answer when the console is opened. */
  async recall(): Promise<void> {
    const kept = await recall();
    if (!kept || this.live.data) return;
    this.#before = kept.facts;
    if (figures.streams.size === 0) figures.streams = new Map(kept.streams);
    link.lost = kept.at;
  }
  readonly reasons = $derived(reasons({ ...this.facts, lagSeconds: (name) => figures.views.get(name)?.lagSeconds }));
  readonly health = $derived(sentence(this.facts?.status, this.reasons));
}

export const node = new Node();
