// What a reset of a consumer group would do, in words; and partitions as somebody types them.
import { expect, test } from '@playwright/test';
import { partitions, words, would } from '../../src/lib/groups';

test('what a reset changes is said of each partition, and of all together', () => {
  const { note, rows } = would([{ partition: 0, from: 120, to: 0 }, { partition: 1, from: 7, to: 8 }, { partition: 2, from: null, to: 4 }, { partition: 3, from: 4, to: 4 }]);
  expect(note).toBe('120 events are read again, 1 event is skipped, 1 partition begins where nothing was committed.');
  expect(rows.map((row) => row.at(-1))).toEqual(['120 events read again', '1 event skipped', 'begins there', 'stays']);
  expect(would([{ partition: 3, from: 4, to: 4 }]).note).toBe('Nothing changes: it reads on from there already.');
});

test('partitions are numbers and spans; none means all, and what is no such list is refused', () => {
  const all = [0, 1, 2, 3, 4];
  expect(partitions('', all)).toEqual(all);
  expect(partitions(' 4, 0-1 ', all)).toEqual([0, 1, 4]);
  for (const wrong of ['x', '1-', '9', '3-2', '1,,2', '-1']) expect(partitions(wrong, all), wrong).toBeUndefined();
});

test('a reset is the same on the command line', () => {
  expect(words('a b', { stream: 's', to: 'start' }).join(' ')).toBe('group reset a b --stream s --to=start');
});
