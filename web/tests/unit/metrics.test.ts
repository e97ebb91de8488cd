// What Prometheus reads, read here.
import { expect, test } from '@playwright/test';
import { readMetrics } from '../../src/lib/prometheus';

test('samples are read with their labels, and what is not wanted is left out', () => {
  const text = '# HELP a what\n# TYPE a gauge\na{stream="x \\"y\\" \\\\ z",n="1"} 12\na 3.5e2\na{n="2"} NaN\nb{q="0.5"} 1\nbroken\n';
  expect(readMetrics(text, new Set(['a']))).toEqual([
    { name: 'a', labels: { stream: 'x "y" \\ z', n: '1' }, value: 12 },
    { name: 'a', labels: {}, value: 350 },
  ]);
});
