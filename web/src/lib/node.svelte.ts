// The node as a whole, asked while the console is open: what the navigation and the overview show.
import { Problem, get } from './api';
import { reasons, sentence } from './health';
import { Live } from './live.svelte';
import { figures } from './metrics.svelte';
import type { Cluster, Projection, Regions, Source, Status } from './types';

export type Facts = {
  status: Status;
  projections: Projection[];
  sources: Source[];
  cluster: Cluster | undefined;
  regions: Regions | undefined;
};

/** An installation that is alone says so once; then it is not asked again before the page is loaded anew. */
class Rest<T> {
  #alone = false;
  constructor(readonly path: string) {}

  async read(signal: AbortSignal): Promise<T | undefined> {
    if (this.#alone) return undefined;
    try {
      return await get<T>(this.path, signal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#alone = error.code === 'wrong_state';
      return undefined;
    }
  }
}

class Node {
  readonly #cluster = new Rest<Cluster>('/v1/cluster');
  readonly #regions = new Rest<Regions>('/v1/regions');

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
