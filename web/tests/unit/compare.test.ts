// An old and a new version of a projection: what differs, in a sentence and cell by cell.
import { expect, test } from '@playwright/test';
import { cells, kind, sentence, type Comparison } from '../../src/lib/compare';

const none: Comparison = {
  old: { sql: '', rows: 0 }, new: { sql: '', rows: 0 }, keys: ['id'], columns: ['total'], only_old_columns: [], only_new_columns: [],
  same: 0, different: 0, only_old: 0, only_new: 0, rows: [],
};

test('a comparison is one sentence', () => {
  expect(sentence(none)).toBe('Neither has a row.');
  expect(sentence({ ...none, same: 1 })).toBe('The one row is the same.');
  expect(sentence({ ...none, same: 1_200, only_new_columns: ['x'] })).toBe('All 1,200 rows are the same; the new one also has x.');
  expect(sentence({ ...none, same: 100, different: 20, only_new: 1 })).toBe('20 rows differ, 1 row is in the new one alone, 100 rows are the same.');
  expect(sentence({ ...none, different: 1, only_old: 2, only_old_columns: ['a', 'b'], only_new_columns: ['b'] })).toBe('1 row differs, 2 rows are in the old one alone, none is the same; the new one lacks a; of another type, and not compared: b.');
});

test('cells that are the same are told from those that are not, and NULL from what is not there', () => {
  const columns = ['id', 'total', 'x'];
  expect(cells({ kind: 'different', old: { id: 7, total: '1.10', x: 1 }, new: { id: 7, total: '1.1', x: null } }, columns)).toEqual([
    { column: 'id', same: '7' },
    { column: 'total', before: '1.10', after: '1.1' },
    { column: 'x', before: '1', after: 'NULL' },
  ]);
  expect(cells({ kind: 'only_old', old: { id: 7, total: 2 } }, columns)).toEqual([{ column: 'id', before: '7' }, { column: 'total', before: '2' }, { column: 'x' }]);
  expect(kind({ kind: 'only_new', new: {}, count: 3 })).toBe('new only, 3 times');
});
