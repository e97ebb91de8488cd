// The page of a cluster: who is there, who has what, and what is done about it.
import { join } from 'node:path';
import { test } from './cluster';
import { lookTwice, PICTURES } from './look';
import { expect } from './node';

test('on a node that is alone there is no page of a cluster, and its address says why', async ({ page, at }) => {
  await at('/');
  await expect(page.getByRole('link', { name: 'Streams' }).first()).toBeVisible();
  await expect(page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Cluster' })).toHaveCount(0);
  await at('/cluster');
  await expect(page.getByText('This node is alone.')).toBeVisible();
});

test('nodes are shown, who has what, and the address keeps what is looked for', async ({ page, cluster }) => {
  await page.goto(cluster.url);
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Cluster' }).click();
  await expect(page.getByText('Every unit has an owner.')).toBeVisible();
  for (const name of ['n1', 'n2']) await expect(page.getByRole('row', { name: new RegExp(`^${name} `) })).toContainText('active');
  const units = page.getByRole('region', { name: 'Units' });
  const { units: all } = await cluster.view();
  for (const unit of all) await expect(units.getByRole('row', { name: unit.name })).toContainText(unit.owner ?? 'nobody');
  await lookTwice(page, 'cluster');

  await page.getByLabel('Filter units').fill('shop.orders/3');
  await expect(units.getByRole('row')).toHaveCount(2);
  await page.reload();
  await expect(units.getByRole('row')).toHaveCount(2);
  await page.goto(`${cluster.url}/cluster?only=away`);
  await expect(page.getByText('Each is where it is to be.')).toBeVisible();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${cluster.url}/cluster`);
  await expect(units.getByRole('row', { name: 'shop.orders/3' })).toBeVisible();
  expect(await page.evaluate(() => document.querySelector('main')!.scrollWidth - innerWidth), 'pixels that hang over').toBeLessThanOrEqual(0);
  await page.screenshot({ path: join(PICTURES, 'cluster-narrow.png') });
});

test('a node is drained after what it has was shown and its name was typed, and takes work again', async ({ page, cluster }) => {
  await cluster.settled();
  const has = (await cluster.view()).units.filter((unit) => unit.owner === 'n2').map((unit) => unit.name);
  await page.goto(`${cluster.url}/cluster`);
  await page.getByRole('button', { name: 'Drain n2 …' }).click();
  const dialog = page.getByRole('dialog');
  const would = dialog.getByRole('region', { name: 'What it would do' });
  await expect(would).toContainText(`It hands over ${has.length} units to n1`);
  for (const name of has) await expect(would.getByRole('row', { name })).toContainText('n1');
  await lookTwice(page, 'drain');
  const go = dialog.getByRole('button', { name: 'Drain the node' });
  await dialog.getByRole('textbox').fill('n1');
  await expect(go).toBeDisabled();
  await dialog.getByRole('textbox').fill('n2');
  await go.click();
  await expect(page.locator('.note')).toContainText('node `n2` hands over what it has');
  const row = page.getByRole('row', { name: /^n2 / });
  await expect(row).toContainText('draining');
  await expect(row.getByRole('cell').nth(2)).toHaveText('0');
  await expect(page.getByRole('region', { name: 'Units' })).not.toContainText('n2');
  await page.getByRole('button', { name: 'Activate n2 …' }).click();
  await dialog.getByRole('button', { name: 'Activate the node' }).click();
  await expect(row).toContainText('active');
  await expect(row.getByRole('cell').nth(2)).not.toHaveText('0');
  await cluster.settled();
});

test('a rebalance shows what would move, and moves it', async ({ page, cluster }) => {
  test.setTimeout(120_000);
  await cluster.settled();
  // Everything was just moved, so that nothing moves by itself for a while.
  await cluster.cycle('n2');
  await cluster.cycle('n1');
  const [place] = await cluster.append('shop.orders', [{ type: 'order.placed', subject: 'busy', data: { id: 0, state: 'placed' } }]);
  const unit = `shop.orders/${place?.split(':')[0]}`;
  const owner = (await cluster.view()).units.find((it) => it.name === unit)?.owner ?? '';
  const other = owner === 'n1' ? 'n2' : 'n1';
  await cluster.append('shop.orders', Array.from({ length: 20_000 }, () => ({ type: 'order.placed', subject: 'busy', data: '{"id":0,"state":"placed"}' })));
  await expect.poll(async () => (await cluster.get<{ moves: unknown[] }>('/v1/cluster/rebalance')).moves.length).toBeGreaterThan(0);

  await page.goto(`${cluster.url}/cluster`);
  await page.getByRole('button', { name: 'Rebalance …' }).click();
  const dialog = page.getByRole('dialog');
  const would = dialog.getByRole('region', { name: 'What it would do' });
  await expect(would).toContainText(/The fullest node has 1\d\d(\.\d)? % of its share now/);
  const moves = await would.getByRole('row').filter({ hasText: `${owner}` }).allInnerTexts();
  expect(moves.length).toBeGreaterThan(0);
  await lookTwice(page, 'rebalance');
  await dialog.getByRole('button', { name: 'Rebalance' }).click();
  await expect(page.locator('.note')).toContainText(/\d+ units? moves?\./);
  for (const move of moves) {
    const [name = ''] = move.split('\t');
    await expect(page.getByRole('region', { name: 'Units' }).getByRole('row', { name }).getByRole('cell').nth(1)).toHaveText(other);
  }
});

test('a node that is killed is seen as gone, what it had goes to another one, and it comes back', async ({ page, cluster, complaints }) => {
  test.setTimeout(120_000);
  await cluster.settled();
  await page.goto(`${cluster.url}/cluster`);
  const row = page.getByRole('row', { name: /^n2 / });
  await expect(row).toContainText('active');
  // It says nothing any more, and is not started again before it has ended.
  cluster.signal('n2', 'SIGSTOP');
  await expect(row).toContainText('gone');
  await expect(row).toContainText(/not registered any more, seen last at \d{4}-/);
  await lookTwice(page, 'cluster-gone');
  const units = page.getByRole('region', { name: 'Units' });
  await expect(units).not.toContainText('n2');
  await expect(page.getByText('Every unit has an owner.')).toBeVisible();
  cluster.signal('n2', 'SIGKILL');
  await expect(row).toContainText('active', { timeout: 60_000 });
  await cluster.settled();
  await page.getByRole('link', { name: 'Who came and who left' }).click();
  await expect(page.getByText('The node “n2” left.').first()).toBeVisible();
  // While a node is away others ask it in vain, and say so.
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of 50\d/.test(it)));
});
