// The pages: their names, their addresses, and how each is loaded when it is opened for the first time.
import type { Component } from 'svelte';
import type { Facts } from './node.svelte';

export type PageEntry = {
  name: string;
  title: string;
  load: () => Promise<{ default: Component }>;
  /** The page of which it is a part: it is reached from there, and with `:`. */
  beside?: string;
  /** Whether it has anything to show here. */
  when?: (facts: Facts | undefined) => boolean;
};

export const PAGES: PageEntry[] = [
  { name: '', title: 'Overview', load: () => import('../pages/Overview.svelte') },
  { name: 'streams', title: 'Streams', load: () => import('../pages/Streams.svelte') },
  { name: 'projections', title: 'Projections', load: () => import('../pages/Projections.svelte') },
  { name: 'parked', title: 'Parked', load: () => import('../pages/Parked.svelte') },
  { name: 'sql', title: 'SQL', load: () => import('../pages/Sql.svelte') },
  { name: 'sources', title: 'Sources', load: () => import('../pages/Sources.svelte') },
  { name: 'groups', title: 'Groups', load: () => import('../pages/Groups.svelte'), when: (facts) => facts?.kafka ?? false },
  { name: 'cluster', title: 'Cluster', load: () => import('../pages/Cluster.svelte'), when: (facts) => facts?.cluster !== undefined },
  { name: 'regions', title: 'Regions', load: () => import('../pages/Regions.svelte'), when: (facts) => facts?.regions !== undefined },
  { name: 'audit', title: 'Audit', load: () => import('../pages/Audit.svelte') },
  { name: 'locks', title: 'Locks', load: () => import('../pages/Locks.svelte') },
  { name: 'watch', title: 'Streams, live', load: () => import('../pages/Watch.svelte'), beside: 'streams' },
  { name: 'config', title: 'Configuration', load: () => import('../pages/Config.svelte') },
];

/** What shows one item of a list. */
const ITEMS: Record<string, () => Promise<{ default: Component }>> = {
  streams: () => import('../pages/Stream.svelte'),
  projections: () => import('../pages/Projection.svelte'),
  sources: () => import('../pages/Source.svelte'),
  groups: () => import('../pages/Group.svelte'),
};

/** What shows an address. */
export function find(segments: string[]): (() => Promise<{ default: Component }>) | undefined {
  const [name = '', ...rest] = segments;
  if (rest.length === 1 && ITEMS[name]) return ITEMS[name];
  return rest.length === 0 ? PAGES.find((page) => page.name === name)?.load : undefined;
}
