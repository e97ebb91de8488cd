// JSON as it is, and texts of others.
import { expect, test } from '@playwright/test';
import { brief, differences, parse, visible } from '../../src/lib/json';

test('a value on one line is cut where it is full, and what is cut is not looked at', () => {
  expect(brief({ a: [1, 'x', null], b: { c: true } })).toBe('{a: [1, "x", null], b: {c: true}}');
  const huge = { text: 'x'.repeat(1_000_000), get after(): string { throw new Error('it was looked at'); } };
  expect(brief(huge, 100)).toMatch(/^\{text: "x{92,93}…$/);
  expect(brief(Array.from({ length: 10 }, () => 'y'.repeat(30)), 50).length).toBe(51);
});

test('differences name the members that changed, with what they were and are', () => {
  const found = differences({ state: 'placed', items: [1, 2], gone: 1 }, { state: 'paid', items: [1, 3], come: { a: 1 } });
  expect(found).toEqual([
    { path: 'state', before: '"placed"', after: '"paid"' },
    { path: 'items[1]', before: '2', after: '3' },
    { path: 'gone', before: '1' },
    { path: 'come', after: '{a: 1}' },
  ]);
  expect(differences({ a: 1 }, { a: 1 })).toEqual([]);
  expect(differences(null, { a: 1 })).toEqual([{ path: '(value)', before: 'null', after: '{a: 1}' }]);
  expect(differences({}, Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [n, n]))).length).toBe(200);
});

test('what draws nothing or turns the direction is made visible', () => {
  expect(visible('user\u202egnp.exe')).toBe('user\\u202egnp.exe');
  expect(visible('a\u0000b\u200bc\u2066')).toBe('a\\u0000b\\u200bc\\u2066');
  expect(visible('größe\n\tπ 漢')).toBe('größe\n\tπ 漢');
});

test('what is no JSON is refused', () => {
  expect(() => parse('{"a":')).toThrow();
});
