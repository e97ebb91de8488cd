// Numbers over time, and the one stream that brings what changes.
import { lookTwice } from './look';
import { expect, test, TestNode } from './node';

test('charts are of a time that stays, read by keys, and said by a table', async ({ page, node, at }) => {
  test.setTimeout(120_000);
  await node.sql('CREATE STREAM IF NOT EXISTS measured WITH (partitions = 1)');
  const known = async (): Promise<number> => {
    await node.append('measured', [{ type: 'm', data: {} }]);
    const answer = await fetch(`${node.api}/v1/metrics?series=appended_events_per_second,stream_events_per_second/measured`);
    return Math.min(...((await answer.json()) as { series: { points: unknown[] }[] }).series.map((it) => it.points.length));
  };
  await expect.poll(known, { timeout: 60_000 }).toBeGreaterThan(1);

  await at('/');
  const chart = page.getByRole('figure', { name: 'Events', exact: true });
  await expect(chart.locator('canvas')).toBeVisible();
  await chart.getByRole('img').focus();
  await page.keyboard.press('End');
  await expect(chart.getByRole('status')).toContainText(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: mean .*\/s, most .*\/s$/);
  await chart.getByRole('button', { name: 'Table' }).click();
  await expect(chart.getByRole('row').nth(1)).toContainText('/s');
  await page.getByRole('button', { name: '15 min' }).click();
  await expect(page).toHaveURL(/range=15m/);
  await at('/projections/by_state');
  await expect(page.getByRole('button', { name: '15 min' })).toHaveAttribute('aria-pressed', 'true');
  await expect(page.getByRole('figure', { name: 'Lag' })).toBeVisible();
  await at('/streams/measured?tab=definition');
  await expect(page.getByRole('figure', { name: 'Events', exact: true }).locator('canvas')).toBeVisible();
  // Two lines are told apart by more than their colours.
  await expect(page.getByText('most', { exact: true }).first()).toBeVisible();
  await at('/?range=1h');
  await expect(chart.locator('canvas')).toBeVisible();
  await lookTwice(page, 'overview-charts');
});

test('one stream brings what changes, and nothing is asked beside it', async ({ page, node, at }) => {
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await at('/streams');
  await expect(page.getByRole('link', { name: 'shop.orders' })).toBeVisible();
  await node.sql('CREATE STREAM IF NOT EXISTS comes_by_itself');
  await expect(page.getByRole('link', { name: 'comes_by_itself' })).toBeVisible();
  await node.sql('DROP STREAM comes_by_itself');
  await expect(page.getByRole('link', { name: 'comes_by_itself' })).toHaveCount(0);
  expect(asked.filter((path) => path === '/v1/live')).toHaveLength(1);
  expect(asked.filter((path) => /^\/v1\/(status|projections|sources|streams)$|^\/metrics$/.test(path))).toEqual([]);
  // A hidden tab follows nothing, and goes on when it is looked at again.
  const hide = (hidden: boolean): Promise<void> =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  const ended = page.waitForEvent('requestfailed', (request) => request.url().includes('/v1/live'));
  await hide(true);
  await ended;
  await node.sql('CREATE STREAM IF NOT EXISTS while_hidden');
  await hide(false);
  await expect(page.getByRole('link', { name: 'while_hidden' })).toBeVisible();
});

test('where the stream is not to be had, the same is polled', async ({ page, complaints }) => {
  const own = new TestNode('\n');
  try {
    await own.start();
    await page.route('**/v1/live**', (route) => route.abort());
    await page.goto(`${own.url}/streams`);
    await expect(page.getByText('No streams yet')).toBeVisible();
    await own.sql('CREATE STREAM polled');
    await expect(page.getByRole('link', { name: 'polled' })).toBeVisible();
  } finally {
    await own.stop();
  }
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/net::ERR_|status of 50\d/.test(it)));
});
