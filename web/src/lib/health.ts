// How things are, in one sentence, and why: from what the node says of itself, and of everything that it runs.
import { count, duration, plural } from './format';
import type { Cluster, Projection, Regions, Source, Status, Trouble } from './types';

export type Level = 'bad' | 'warn' | 'info';
export type Reason = {
  level: Level;
  /** What it is about: `projection`, `source`, `node` … */
  kind: string;
  name: string;
  text: string;
  /** What to do. */
  remedy: string;
  href: string;
};

/** What is looked at; what is not known yet is left out. */
export type Facts = {
  status?: Status | undefined;
  projections?: Projection[] | undefined;
  sources?: Source[] | undefined;
  regions?: Regions | undefined;
  cluster?: Cluster | undefined;
  /** What the node would not say, and why. */
  silent?: { what: string; why: string }[] | undefined;
};

/** A projection that is behind for longer deserves a look. */
const LAG_MS = 10_000;
const SOURCE_LAG_MS = 60_000;

/** Where somebody sees more of what a problem is about. */
function placeOf({ kind, name }: Trouble['about']): string {
  const item = encodeURIComponent(name);
  if (kind === 'projection' || kind === 'stream' || kind === 'source') return name ? `/${kind}s/${item}` : `/${kind}s`;
  if (kind === 'region') return name ? `/regions?region=${item}` : '/regions';
  return kind === 'disk' ? '/streams?sort=-bytes' : '/cluster';
}

function fromNode({ about, detail, remedy }: Trouble): Reason {
  return { level: 'bad', kind: about.kind, name: about.name || 'this node', text: detail, remedy: `${remedy.charAt(0).toUpperCase()}${remedy.slice(1)}.`, href: placeOf(about) };
}

function ofProjection(it: Projection): Reason[] {
  const about = { kind: 'projection', name: it.name, href: `/projections/${encodeURIComponent(it.name)}` };
  const found: Reason[] = [];
  if (it.parked > 0) {
    found.push({
      ...about,
      level: 'bad',
      text: `${plural(it.parked, 'event')} could not be processed${it.error ? `: ${it.error}` : ''}`,
      remedy: 'Look at the event, then retry or drop it.',
      href: `/parked?view=${encodeURIComponent(it.name)}`,
    });
  }
  if (it.state === 'failed') found.push({ ...about, level: 'bad', text: it.error ?? 'it stands still', remedy: 'See why, then define it anew or rebuild it.' });
  if (it.state === 'unknown') found.push({ ...about, level: 'warn', text: it.error ?? 'a part of it has no owner, or a node does not say', remedy: 'See who has what.', href: '/cluster' });
  if (it.state === 'paused') found.push({ ...about, level: 'warn', text: `paused, ${plural(it.lag_events, 'event')} behind`, remedy: 'Resume it when what it waits for is done.' });
  if (it.state === 'running' && it.lag_events > 0 && (it.lag_ms ?? 0) > LAG_MS) {
    found.push({ ...about, level: 'warn', text: `${count(it.lag_events)} events and ${duration(it.lag_ms)} behind`, remedy: 'See whether it catches up.' });
  }
  if (it.held && it.build?.ready) found.push({ ...about, level: 'info', text: 'a new version is ready, and held', remedy: 'Compare it with the old one, then release it or go back.' });
  if (it.state === 'building') found.push({ ...about, level: 'info', text: 'it is being built', remedy: 'See how far it is.' });
  return found;
}

function ofSource(it: Source): Reason[] {
  const about = { kind: 'source', name: it.name, href: `/sources/${encodeURIComponent(it.name)}` };
  if (it.state === 'failed' || it.state === 'retrying') {
    return [{ ...about, level: 'bad', text: it.error ?? 'it does not run', remedy: 'See why, and whether its database answers.' }];
  }
  if (it.state === 'paused') return [{ ...about, level: 'warn', text: 'paused: its database keeps all changes since', remedy: 'Resume it.' }];
  if ((it.lag_ms ?? 0) > SOURCE_LAG_MS) return [{ ...about, level: 'warn', text: `${duration(it.lag_ms)} behind its database`, remedy: 'A large transaction passes by itself.' }];
  return [];
}

/** Why somebody should look, the worst first. */
export function reasons(facts: Facts): Reason[] {
  const told = (facts.status?.problems ?? []).map(fromNode);
  const derived = [
    ...(facts.projections ?? []).flatMap(ofProjection),
    ...(facts.sources ?? []).flatMap(ofSource),
  ];
  for (const { what, why } of facts.silent ?? []) {
    derived.push({ level: 'bad', kind: 'node', name: what, text: `the node does not say: ${why}`, remedy: 'What is shown of it may be old.', href: `/${what}` });
  }
  const unowned = facts.cluster?.unowned ?? 0;
  if (unowned > 0) {
    derived.push({ level: 'bad', kind: 'cluster', name: facts.cluster?.node ?? '', text: `${plural(unowned, 'unit')} without an owner`, remedy: 'See which, and which node is away.', href: '/cluster' });
  }
  // The node has said it in its own words already.
  const known = new Set(told.map((it) => `${it.kind} ${it.name} ${it.text}`));
  const order: Level[] = ['bad', 'warn', 'info'];
  return [...told, ...derived.filter((it) => !known.has(`${it.kind} ${it.name} ${it.text}`))].sort(
    (a, b) => order.indexOf(a.level) - order.indexOf(b.level),
  );
}

/** The one sentence. */
export function sentence(status: Status | undefined, found: Reason[]): { level: Level | 'ok'; text: string } {
  if (!status) return { level: 'info', text: 'Asking the node …' };
  if (status.state === 'starting') return { level: 'warn', text: 'The node is starting.' };
  const bad = found.filter((it) => it.level === 'bad').length;
  const warn = found.filter((it) => it.level === 'warn').length;
  const also = warn > 0 ? `, and ${warn} deserve${warn === 1 ? 's' : ''} a look` : '';
  if (bad > 0) return { level: 'bad', text: `${plural(bad, 'thing')} need${bad === 1 ? 's' : ''} attention${also}.` };
  if (warn > 0) return { level: 'warn', text: `It works, and ${plural(warn, 'thing')} deserve${warn === 1 ? 's' : ''} a look.` };
  return { level: 'ok', text: 'All is well.' };
}
