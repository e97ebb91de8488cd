// The one sentence, and its reasons.
import { expect, test } from '@playwright/test';
import { reasons, sentence, type Facts } from '../../src/lib/health';
import type { Projection, Source, Status } from '../../src/lib/types';

const status: Status = { state: 'ready', problems: [], version: '1', uptime_ms: 1, data_folder: '/d', disk_free_bytes: 1, streams: 1, sources: 0, projections: 1, parked: 0 };
const view: Projection = { name: 'a', sql: 'SELECT 1', state: 'running', lag_events: 0, parked: 0, token: '' };
const source: Source = { name: 's', kind: 'postgres', state: 'streaming', tables: [] };

function say(facts: Facts): string {
  const found = reasons(facts);
  return [sentence(facts.status, found).text, ...found.map((it) => `${it.level} ${it.kind} ${it.name} ${it.href}`)].join('\n');
}

test('without a reason all is well', () => {
  expect(say({ status, projections: [view], sources: [source] })).toBe('All is well.');
  expect(say({})).toBe('Asking the node …');
  expect(say({ status: { ...status, state: 'starting' } })).toBe('The node is starting.');
});

test('each reason leads to what is wrong, the worst first', () => {
  const projections = [{ ...view, name: 'paused one', state: 'paused', lag_events: 3 }, { ...view, name: 'b', parked: 2 }];
  const sources = [{ ...source, lag_ms: 120_000 }];
  expect(say({ status, projections, sources })).toBe(
    '1 thing needs attention, and 2 deserve a look.\nbad projection b /parked?view=b\nwarn projection paused one /projections/paused%20one\nwarn source s /sources/s',
  );
});

test('what the node says of itself leads there, and is not said twice', () => {
  const trouble = (kind: string, name: string, detail: string): Status['problems'][number] => ({ code: `${kind}_x`, about: { kind, name }, detail, remedy: 'mend it' });
  const problems = [trouble('source', 's', 'no password'), trouble('projection', 'a', 'broken'), trouble('region', '3', 'there is no link'), trouble('log', '', 'it is full'), trouble('stream', 'shop.x', 'no'), trouble('disk', '', 'little')];
  const facts = { status: { ...status, problems }, projections: [{ ...view, state: 'failed', error: 'broken' }], sources: [{ ...source, state: 'failed', error: 'no password' }] };
  expect(say(facts)).toBe(
    '6 things need attention.\nbad source s /sources/s\nbad projection a /projections/a\nbad region 3 /regions?region=3\nbad log this node /cluster\nbad stream shop.x /streams/shop.x\nbad disk this node /streams?sort=-bytes',
  );
  expect(reasons(facts)[0]?.remedy).toBe('Mend it.');
});

test('what the node does not say is a reason too', () => {
  expect(say({ status, silent: [{ what: 'cluster', why: 'no answer of etcd' }] })).toBe('1 thing needs attention.\nbad node cluster /cluster');
});

test('a projection that is behind for a moment is no reason, for long it is', () => {
  const late = (lag_ms: number): Facts => ({ status, projections: [{ ...view, lag_events: 5, lag_ms }] });
  expect(say(late(1_000))).toBe('All is well.');
  expect(say(late(11_000))).toBe('It works, and 1 thing deserves a look.\nwarn projection a /projections/a');
});

test('a new version that is held is a note once it is ready', () => {
  const held = (ready: boolean): Facts => ({ status, projections: [{ ...view, held: true, build: { done: 1, total: 1, ready } }] });
  expect(say(held(false))).toBe('All is well.');
  expect(say(held(true))).toBe('All is well.\ninfo projection a /projections/a');
});
