// How things are, in one sentence, and why: from what the node says of itself, and of everything that it runs.
import { count, duration, plural } from './format';
import type { Cluster, Projection, Regions, Source, Status } from './types';

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
  /** For how long each projection has been behind, in seconds. */
  lagSeconds?: (projection: string) => number | undefined;
};

/** A projection that is behind for longer deserves a look. */
const LAG_SECONDS = 10;
const SOURCE_LAG_MS = 60_000;

const PATTERNS: [RegExp, string, (name: string) => string, string][] = [
  [/^source `([^`]+)`: /, 'source', (name) => `/sources/${encodeURIComponent(name)}`, 'See why, and whether its database answers.'],
  [/^table `[^`]+` of source `([^`]+)`: /, 'source', (name) => `/sources/${encodeURIComponent(name)}`, 'See which table, and what to do about it.'],
  [/^projection `([^`]+)`: /, 'projection', (name) => `/projections/${encodeURIComponent(name)}`, 'See why, then define it anew or rebuild it.'],
  [/^the latest rows of `([^`]+)`: /, 'stream', (name) => `/streams/${encodeURIComponent(name)}`, 'See the event at that place.'],
  [/^region (\d+): /, 'region', (name) => `/regions?region=${name}`, 'See the link, and what it waits for.'],
];

function fromNode(text: string): Reason {
  for (const [pattern, kind, href, remedy] of PATTERNS) {
    const match = pattern.exec(text);
    if (match?.[1]) return { level: 'bad', kind, name: match[1], text: text.slice(match[0].length), remedy, href: href(match[1]) };
  }
  const disk = text.includes('free on the disk');
  const remedy = disk ? 'Free space, or give streams a retention.' : 'The log of the server says more.';
  return { level: 'bad', kind: 'node', name: 'this node', text, remedy, href: disk ? '/streams?sort=events' : '/cluster' };
}

function ofProjection(it: Projection, seconds: number | undefined): Reason[] {
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
  if (it.state === 'running' && it.lag_events > 0 && (seconds ?? 0) > LAG_SECONDS) {
    found.push({ ...about, level: 'warn', text: `${count(it.lag_events)} events and ${duration((seconds ?? 0) * 1_000)} behind`, remedy: 'See whether it catches up.' });
  }
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
    ...(facts.projections ?? []).flatMap((it) => ofProjection(it, facts.lagSeconds?.(it.name))),
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
