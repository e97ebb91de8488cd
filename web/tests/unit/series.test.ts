// Numbers over time as a chart takes them.
import { expect, test } from '@playwright/test';
import { columns } from '../../src/lib/series';

test('where steps are missing is a gap, and what is there keeps its place', () => {
  const [times, means, mosts] = columns([[10_000, 1, 2], [20_000, 3, 4], [50_000, 5, 6]], 10_000);
  expect(times).toEqual([10, 20, 30, 50]);
  expect(means).toEqual([1, 3, null, 5]);
  expect(mosts).toEqual([2, 4, null, 6]);
  expect(columns([], 10_000)).toEqual([[], [], []]);
});
