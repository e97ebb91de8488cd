// Somebody changes what a projection computes, sees what that does to its rows before anybody else does, and decides.
import { join } from 'node:path';
import { lookTwice, PICTURES } from './look';
import { expect, test } from './node';

const OLD = "SELECT data->>'who' AS who, sum((data->>'amount')::int) AS amount FROM bills GROUP BY 1";
const NEW = "SELECT data->>'who' AS who, sum(CASE data->>'who' WHEN 'bob' THEN 2 ELSE 1 END * (data->>'amount')::int) AS amount, count(*) AS bills FROM bills WHERE data->>'who' <> 'eve' GROUP BY 1";

test('a changed projection is held, compared with the one that answers, given up, and at last released', async ({ page, node, at }) => {
  test.setTimeout(120_000);
  await node.sql('CREATE STREAM bills WITH (partitions = 2)');
  await node.sql(`CREATE PROJECTION spend AS ${OLD}`);
  const bills = ['ann', 'bob', 'eve'].map((who, n) => ({ type: 'bill', subject: who, data: { who, amount: n + 5 } }));
  await node.append('bills', bills);
  const rows = async (): Promise<unknown> => (await node.sql('SELECT who, amount FROM spend ORDER BY who')).rows;
  const before = [['ann', 5], ['bob', 6], ['eve', 7]];
  const after = [['ann', 5], ['bob', 12]];
  await expect.poll(rows).toEqual(before);

  await at('/projections/spend');
  const hold = page.getByRole('checkbox', { name: /^Hold a new version/ });
  await hold.check();
  await expect(page.locator('.note')).toContainText('does not take over before it is released');
  await page.getByRole('link', { name: 'Change it' }).click();
  await page.getByLabel('Statement').fill(`CREATE OR REPLACE PROJECTION spend AS ${NEW}`);
  await page.getByLabel('Statement').press('Control+Enter');
  await expect(page.getByText('projection `spend`')).toBeVisible();
  await page.getByRole('link', { name: 'Overview' }).click();
  await expect(page.locator('.reasons')).toContainText('a new version is ready, and held');
  await page.locator('.reasons').getByRole('link', { name: 'spend' }).click();

  const version = page.getByRole('region', { name: 'The new version is held' });
  await expect(version.getByRole('status')).toContainText('1 row differs, 1 row is in the old one alone, 1 row is the same; the new one also has bills.');
  await expect(version.getByRole('status')).toContainText('Old 3 rows, new 2 rows; both at the same events.');
  const bob = version.getByRole('row', { name: /bob/ });
  await expect(bob.locator('del')).toHaveText('6');
  await expect(bob.locator('ins')).toHaveText('12');
  await expect(version.getByRole('row', { name: /eve/ })).toContainText('old only');
  expect(await rows()).toEqual(before);
  await lookTwice(page, 'compare');
  await version.getByRole('button', { name: 'CLI' }).click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toMatch(/^tradewind projection compare spend --url /);

  const where = version.getByLabel('Only rows where');
  await where.fill("who = 'ann'");
  await where.press('Enter');
  await expect(version.getByRole('status')).toContainText('The one row is the same; the new one also has bills.');
  await expect(page).toHaveURL(/where=who/);
  await where.fill('');
  await where.press('Enter');
  await version.getByRole('link', { name: 'Query the new version' }).click();
  await expect(page.getByRole('row', { name: /bob/ })).toContainText('12');
  await page.setViewportSize({ width: 390, height: 844 });
  await at('/projections/spend');
  await expect(bob.locator('del')).toHaveText('6');
  expect(await page.evaluate(() => document.querySelector('main')!.scrollWidth - innerWidth), 'pixels that hang over').toBeLessThanOrEqual(0);
  await page.screenshot({ path: join(PICTURES, 'compare-narrow.png') });
  await page.setViewportSize({ width: 1280, height: 800 });

  // The first way out: it stays as it is.
  const dialog = page.getByRole('dialog');
  await version.getByRole('button', { name: 'Go back to the old one …' }).click();
  await dialog.getByRole('button', { name: 'Go back' }).click();
  await expect(page.locator('.note')).toContainText('spend stays as it is.');
  await expect(version).toHaveCount(0);
  await expect(hold).not.toBeChecked();
  expect(await rows()).toEqual(before);

  // The other one: once more, and now it takes over.
  await hold.check();
  await expect(page.locator('.note')).toContainText('does not take over before it is released');
  await node.sql(`CREATE OR REPLACE PROJECTION spend AS ${NEW}`);
  await version.getByRole('button', { name: 'Release it …' }).click();
  await expect(dialog.getByRole('region', { name: 'What it would do' })).toContainText('1 row differs');
  await dialog.getByRole('button', { name: 'Release it' }).click();
  await expect(page.locator('.note')).toContainText('The new version of spend takes over.');
  await expect(version).toHaveCount(0);
  await expect.poll(rows).toEqual(after);
  await expect(page.getByRole('region', { name: 'Rows', exact: true }).getByRole('row', { name: /bob/ })).toContainText('12');
  await expect(hold).not.toBeChecked();
  await node.sql('DROP PROJECTION spend');
});
