// What the platform did, as sentences.
import { expect, test } from '@playwright/test';
import { auditCsv, sentence } from '../../src/lib/audit';
import type { CloudEvent } from '../../src/lib/types';

function event(type: string, data: unknown, subject = ''): CloudEvent {
  return { specversion: '1.0', id: '1', source: 's', type, data, subject, twposition: '0:7', twhlc: '1769851800000.0' };
}

test('each known form is a sentence', () => {
  const said = (stream: string, type: string, data: unknown, subject?: string): string => sentence(stream, event(type, data, subject));
  expect(said('$config', 'tradewind.stream.created', { name: 'orders', partitions: 4, options: { mode: 'active-active' } })).toBe('The stream “orders” was created: 4 partitions, active-active.');
  expect(said('$definitions', 'tradewind.stream.created', { v: 1, stream: { name: 'orders', partitions: 1, options: {} } })).toBe('In every region, the stream “orders” was created: 1 partition.');
  expect(said('$config', 'tradewind.config.changed', { option: 'http.requests_max', value: 8192, previous: null, author: 'ann' })).toBe('Ann set http.requests_max to 8192, before it was nothing.');
  expect(said('$config', 'tradewind.config.changed', { option: 'a', value: null, previous: [1], author: 'bob', restored: 2 })).toBe('Bob unset a, before it was [1]; back to version 2.');
  const fact = { view: 'projection/paid', stream: 'payments', partition: 0, offset: 1, event_subject: 'bob' };
  expect(said('$parked', 'tradewind.parked.parked', { ...fact, why: 'no number' })).toBe('“paid” could not process the event payments 0:1 of “bob”, and parked it: no number');
  expect(said('$parked', 'tradewind.parked.released', { ...fact, how: 'applied' })).toBe('The event payments 0:1 of “bob” is no longer parked in “paid”: it was processed.');
  expect(said('$parked', 'tradewind.parked.released', { view: 'paid', removal: 0, how: 'removed' })).toContain('Everything parked of “paid” ended');
  expect(said('$homes', 'tradewind.home.moved', { stream: 'ledger', term: 1, home: 2, from: 1 })).toBe('Region 1 gave the stream “ledger” to region 2.');
  expect(said('$cluster', 'tradewind.node.left', { node: 'n2', incarnation: 1 })).toBe('The node “n2” left.');
  expect(said('$conflicts', 'tradewind.conflict', { stream: 'c', subject: 'ann', column: 'name', kind: 'overwritten', winner: { region: 3, value: 'A' }, loser: { region: 2 } })).toBe(
    '“ann” of c, name: region 3 with “A” counts, and region 2 did not know of it (overwritten).',
  );
  expect(said('$at_risk', 'tradewind.event.at_risk', { stream: 'orders', partition: 0, origin: '1.1.58', home: 2, subject: 'order-7' })).toBe(
    'Region 2 decided without the event orders 0 of “order-7”, accepted elsewhere as 1.1.58: it is at risk.',
  );
  expect(said('$sources', 'source.table', { rows: 12, phase: { is: 'done' } }, 'shop/public.orders')).toBe('The snapshot of “shop/public.orders” is complete: 12 rows.');
});

test('what is not known, or does not have the form, is told by its type', () => {
  expect(sentence('$config', event('tradewind.new.thing', { a: 1 }, 'x/y'))).toBe('Tradewind.new.thing: x/y');
  expect(sentence('$config', event('tradewind.stream.created', 'no object'))).toBe('Tradewind.stream.created');
  expect(sentence('$config', event('tradewind.stream.dropped', { name: 'a\u202eb' }))).toBe('The stream “a\\u202eb” was removed.');
});

test('an export has no formulas', () => {
  const it = event('t', {}, '=1+1');
  expect(auditCsv([{ stream: '$config', event: it, at: 1769851800000, text: 'x, y' }])).toBe(
    `accepted,stream,place,type,subject,what\n2026-01-31T09:30:00.000Z,$config,0:7,t,'=1+1,"x, y"\n`,
  );
});
