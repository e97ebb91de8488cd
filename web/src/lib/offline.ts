// The console without the node: its files are kept by a service worker, and what the overview showed last is kept here. Names, states and
// numbers; never an event, nor a text that may quote one.
import type { Facts } from './node.svelte';
import type { Stream } from './types';

const CACHE = 'snapshot';
const PLACE = '/snapshot';
/** What was seen is kept so often at most. */
const EVERY_MS = 15_000;
const STREAMS_MAX = 100;

export type Snapshot = { at: number; facts: Facts; streams: Stream[] };

/** The name of the policy for trusted types under which the worker is registered; the node's policy must name it. */
const POLICY = 'console-worker';
type Trusted = { createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): unknown } };

/** Has the browser keep the console, if it can. */
export async function keep(): Promise<void> {
  if (!isSecureContext || !('serviceWorker' in navigator)) return;
  try {
    const trusted = (window as unknown as { trustedTypes?: Trusted }).trustedTypes?.createPolicy(POLICY, { createScriptURL: () => '/sw.js' });
    const manifest = document.createElement('link');
    manifest.rel = 'manifest';
    manifest.href = '/manifest.webmanifest';
    document.head.append(manifest);
    await navigator.serviceWorker.register((trusted?.createScriptURL('/sw.js') ?? '/sw.js') as string);
  } catch {
    // The console works without it; the next load tries again.
  }
}

/** Has the browser write what a path answers into a file, while it comes; false where nothing can do that. */
export function save(path: string, file: string, failed: (why: string) => void): boolean {
  const worker = isSecureContext ? navigator.serviceWorker : undefined;
  if (!worker?.controller) return false;
  worker.onmessage = (message: MessageEvent<{ export?: string }>) => message.data.export && failed(message.data.export);
  // The answer is a file, so that the page stays.
  location.assign(`/export?${new URLSearchParams({ path, file }).toString()}`);
  return true;
}

/** What may be kept of what the node says of itself. */
export function strip(facts: Facts): Facts {
  return {
    // A detail may quote an event.
    status: { ...facts.status, problems: facts.status.problems.map((it) => ({ ...it, detail: 'what it said is not kept' })) },
    projections: facts.projections.map(({ error: _, ...it }) => ({ ...it, sql: '', token: '' })),
    sources: facts.sources.map(({ name, kind, state, lag_ms, lag_bytes, retained_bytes }) => ({ name, kind, state, lag_ms, lag_bytes, retained_bytes, tables: [] })),
    cluster: facts.cluster && { ...facts.cluster, units: [] },
    regions: facts.regions && { ...facts.regions, peers: facts.regions.peers.map((it) => ({ ...it, error: null, notes: [], partitions: [] })) },
    kafka: facts.kafka,
    silent: [],
  };
}

let written = 0;

/** Keeps what was seen, every now and then. */
export async function remember(facts: Facts, streams: Stream[]): Promise<void> {
  if (!('caches' in globalThis) || streams.length === 0 || Date.now() - written < EVERY_MS) return;
  written = Date.now();
  const busiest = streams.toSorted((a, b) => (b.rate_events_per_second ?? 0) - (a.rate_events_per_second ?? 0)).slice(0, STREAMS_MAX);
  const snapshot: Snapshot = { at: written, facts: strip(facts), streams: busiest };
  try {
    await (await caches.open(CACHE)).put(PLACE, new Response(JSON.stringify(snapshot), { headers: { 'content-type': 'application/json' } }));
  } catch {
    // A browser without room, or one that keeps nothing.
  }
}

/** What was seen last, on this address. */
export async function recall(): Promise<Snapshot | undefined> {
  try {
    const kept = await caches.match(PLACE, { cacheName: CACHE });
    return kept ? ((await kept.json()) as Snapshot) : undefined;
  } catch {
    return undefined;
  }
}
