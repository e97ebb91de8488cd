// Numbers for people, statements that only read, fields of CSV.
import { expect, test } from '@playwright/test';
import { bytes, count, duration, rate } from '../../src/lib/format';
import { field, quote } from '../../src/lib/share';
import { reads } from '../../src/lib/sql';

test('numbers, sizes and durations are short', () => {
  expect([0, 1_234, 99_999, 1_234_567, undefined].map(count)).toEqual(['0', '1,234', '99,999', '1.2M', '–']);
  expect([0, 999, 1_500, 123_456_789, null].map(bytes)).toEqual(['0 B', '999 B', '1.5 kB', '123 MB', '–']);
  expect([5, 1_500, 59_000, 300_000, 86_400_000, 172_800_000].map(duration)).toEqual(['5 ms', '1.5 s', '59 s', '5 min', '24 h', '2 d']);
  expect([0, 0.5, 42].map(rate)).toEqual(['0/s', '0.5/s', '42/s']);
});

test('a field of CSV is quoted, and no spreadsheet takes it for a formula', () => {
  expect(['a', 'a,b', 'say "hi"', 'x\ny', '=1+1', '@x', '-5', '-5.2', '-x', '+1'].map(field)).toEqual([
    'a', '"a,b"', '"say ""hi"""', '"x\ny"', "'=1+1", "'@x", '-5', '-5.2', "'-x", "'+1",
  ]);
});

test('a word of a command cannot end it', () => {
  expect(["o'rders; rm -rf /", 'shop.orders', '$(x)', "a'$(x)"].map(quote)).toEqual(['"o\'rders; rm -rf /"', 'shop.orders', "'$(x)'", "'a'\\''$(x)'"]);
});

test('opening a link runs what only reads', () => {
  for (const sql of ['SELECT 1', ' show streams', 'EXPLAIN x', 'describe a']) expect(reads(sql), sql).toBe(true);
  for (const sql of ['DROP STREAM a', 'CREATE STREAM b', 'selected', 'WITH x AS (SELECT 1) SELECT 1', '']) expect(reads(sql), sql).toBe(false);
});
