// The node as a whole, asked while the console is open: what the navigation and the overview show.
import { get } from './api';
import { reasons, sentence } from './health';
import { Live } from './live.svelte';
import { figures } from './metrics.svelte';
import type { Cluster, Projection, Regions, Setting, Source, Status } from './types';

export type Facts = {
  status: Status;
  projections: Projection[];
  sources: Source[];
  cluster: Cluster | undefined;
  regions: Regions | undefined;
};

/** What only some installations have. Whether this one does is an option that is read when the node starts, so it is asked once. */
class Part<T> {
  #is: boolean | undefined;
  constructor(
    readonly option: string,
    readonly path: string,
  ) {}

  async read(signal: AbortSignal): Promise<T | undefined> {
    this.#is ??= Boolean((await get<Setting>(`/v1/config/${this.option}`, signal)).value);
    return this.#is ? get<T>(this.path, signal) : undefined;
  }
}

class Node {
  readonly #cluster = new Part<Cluster>('cluster.enabled', '/v1/cluster');
  readonly #regions = new Part<Regions>('region.id', '/v1/regions');

  readonly live = new Live<Facts>(async (signal) => {
    const [status, { projections }, { sources }, cluster, regions] = await Promise.all([
      get<Status>('/v1/status', signal),
      get<{ projections: Projection[] }>('/v1/projections', signal),
      get<{ sources: Source[] }>('/v1/sources', signal),
      this.#cluster.read(signal),
      this.#regions.read(signal),
    ]);
    return { status, projections, sources, cluster, regions };
  });

  readonly facts = $derived(this.live.data);
  readonly reasons = $derived(
    reasons({ ...this.facts, lagSeconds: (name) => figures.views.get(name)?.lagSeconds }),
  );
  readonly health = $derived(sentence(this.facts?.status, this.reasons));
}

export const node = new Node();
