// The node as a whole: what the navigation, the overview and the lists show. One stream brings it; where that is not to be had, it is polled.
import { Problem, get } from './api';
import { reasons, sentence } from './health';
import { Live, link } from './live.svelte';
import { recall, remember } from './offline';
import { follow, merge } from './topics';
import type { Cluster, Projection, Regions, Setting, Source, Status, Stream } from './types';

export type Facts = {
  status: Status;
  projections: Projection[];
  sources: Source[];
  cluster: Cluster | undefined;
  regions: Regions | undefined;
  /** Whether consumer groups of Kafka can be seen. */
  kafka: boolean;
  /** What the node would not say, and why. */
  silent: { what: string; why: string }[];
};

type Rows<T, K extends string> = { [key in K]: T[] } | { changed: T[]; gone: string[] };

/** Reads what only some installations have. Whether this one does is an option that is read when the node starts, so it is asked once. */
function where<T>(option: string, path: string): (signal: AbortSignal) => Promise<T | undefined> {
  let is: boolean | undefined;
  return async (signal) => {
    is ??= Boolean((await get<Setting>(`/v1/config/${option}`, signal)).value);
    return is ? get<T>(path, signal) : undefined;
  };
}
const readCluster = where<Cluster>('cluster.enabled', '/v1/cluster');
const readRegions = where<Regions>('region.id', '/v1/regions');

class Node {
  #status = $state.raw<Status | undefined>(undefined);
  #started = $state(0);
  #projections = $state.raw<Projection[] | undefined>(undefined);
  #sources = $state.raw<Source[] | undefined>(undefined);
  #cluster = $state.raw<Cluster | undefined>(undefined);
  #regions = $state.raw<Regions | undefined>(undefined);
  #kafka = $state(false);
  #asksKafka = true;
  #silent = $state.raw<Facts['silent']>([]);
  /** What was seen in an earlier visit, while the node has not answered in this one. */
  #before = $state.raw<Facts | undefined>(undefined);
  #wantsStreams = false;
  /** All streams; they are followed while a page shows them. */
  streams = $state.raw<Stream[] | undefined>(undefined);
  /** Whether the one stream speaks. */
  speaks = $state(false);

  /** Asks for everything once, or again and again while the stream does not speak. */
  readonly live = new Live<void>(async (signal) => {
    const silent: Facts['silent'] = [];
    // A part that is refused, while its coordination service is away, say, is what it was.
    const part = async (what: string, read: () => Promise<void>): Promise<void> => {
      try {
        await read();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        silent.push({ what, why: error.message });
      }
    };
    await Promise.all([
      get<Status>('/v1/status', signal).then((it) => this.#take('status', it)),
      part('projections', async () => this.#take('projections', await get('/v1/projections', signal))),
      part('sources', async () => this.#take('sources', await get('/v1/sources', signal))),
      part('cluster', async () => this.#take('cluster', await readCluster(signal))),
      part('regions', async () => this.#take('regions', await readRegions(signal))),
      this.#wantsStreams ? get('/v1/streams', signal).then((it) => this.#take('streams', it)) : undefined,
    ]);
    this.#silent = silent;
  });

  readonly facts = $derived.by((): Facts | undefined => {
    const [status, projections, sources] = [this.#status, this.#projections, this.#sources];
    if (!status || !projections || !sources) return this.#before;
    return { status, projections, sources, cluster: this.#cluster, regions: this.#regions, kafka: this.#kafka, silent: this.#silent };
  });
  readonly reasons = $derived(reasons({ ...this.facts }));
  readonly health = $derived(sentence(this.facts?.status, this.reasons));
  /** Since when the node runs, in milliseconds since 1970. */
  readonly since = $derived(this.#started);

  /** Follows the node, and its streams where they are shown. Made for `$effect(() => node.start(…))`. */
  start(streams: boolean): () => void {
    this.#wantsStreams = streams;
    let stop: (() => void) | undefined;
    const poll = (yes: boolean): void => {
      if (yes) stop ??= this.live.start();
      else {
        stop?.();
        stop = undefined;
      }
    };
    const end = follow(['status', 'projections', 'sources', 'cluster', 'regions', ...(streams ? ['streams'] : [])], {
      topic: (name, value) => {
        this.#silent = this.#silent.filter((it) => it.what !== name);
        this.#take(name, value);
      },
      refused: (what, why) => (this.#silent = [...this.#silent.filter((it) => it.what !== what), { what, why }]),
      speaks: (yes) => {
        this.speaks = yes;
        poll(!yes);
      },
    });
    return () => {
      end();
      poll(false);
    };
  }

  #take(name: string, value: unknown): void {
    if (name === 'status') {
      this.#status = value as Status;
      this.#started = Date.now() - this.#status.uptime_ms;
    } else if (name === 'projections') {
      const it = value as Rows<Projection, 'projections'>;
      this.#projections = 'changed' in it ? merge(this.#projections ?? [], it.changed, it.gone) : it.projections;
    } else if (name === 'streams') {
      const it = value as Rows<Stream, 'streams'>;
      this.streams = 'changed' in it ? merge(this.streams ?? [], it.changed, it.gone) : it.streams;
    } else if (name === 'sources') this.#sources = (value as { sources: Source[] }).sources;
    else if (name === 'cluster') {
      this.#cluster = (value as Cluster | null) ?? undefined;
      if (this.#cluster) void this.#askKafka();
    }
    else if (name === 'regions') this.#regions = (value as Regions | null) ?? undefined;
    if (this.facts && this.facts !== this.#before) void remember(this.facts, this.streams ?? []);
  }

  /** Only a cluster has Kafka. Whether it shows groups is asked once; a node that does not say is asked again with the next change. */
  async #askKafka(): Promise<void> {
    if (!this.#asksKafka) return;
    this.#asksKafka = false;
    try {
      this.#kafka = (await get<{ kafka: boolean }>('/v1/groups?limit=1')).kafka;
    } catch (error) {
      // An older node knows nothing of groups.
      this.#asksKafka = !(error instanceof Problem && error.status === 404);
    }
  }

  /** Shows what was seen last, if the node does not answer when the console is opened. */
  async recall(): Promise<void> {
    const kept = await recall();
    if (!kept || this.#status) return;
    this.#before = kept.facts;
    this.streams ??= kept.streams;
    link.lost = kept.at;
  }

  /** Whether it has answered since the console was opened. */
  get known(): boolean {
    return this.#status !== undefined;
  }
}

export const node = new Node();
