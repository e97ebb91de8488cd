// The audit: what was done is there, is found, and leads to its event.
import { readFileSync } from 'node:fs';
import { expect, test } from './node';

test('what was done is told, filtered, opened, exported, and leads to its event', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS audited WITH (partitions = 1)');
  await node.sql("CREATE PROJECTION audited_sum AS SELECT sum((data->>'n')::int) AS n FROM audited");
  await node.append('audited', [{ type: 'number', subject: 'nine', data: { n: 'nine' } }]);
  await node.parked(1, 'audited_sum');
  await node.sql('DROP PROJECTION audited_sum');

  await at('/audit');
  await page.getByLabel('Filter what was done').fill('audited');
  const list = page.getByRole('region', { name: 'What was done' });
  await expect(list.getByRole('row').nth(1)).toContainText('Everything parked of “audited_sum” ended');
  await expect(list).toContainText('“audited_sum” could not process the event audited 0:0 of “nine”, and parked it: invalid input syntax');
  await expect(list).toContainText('The projection “audited_sum” was dropped.');
  await page.getByRole('combobox', { name: 'Stream' }).selectOption('$parked');
  await expect(list).not.toContainText('was dropped.');
  await page.getByRole('button', { name: /could not process the event audited/ }).click();
  const raw = page.getByRole('region', { name: /^Event / });
  await expect(raw.locator('pre')).toContainText('"view": "projection/audited_sum"');
  await expect(page).toHaveURL(/q=audited&stream=%24parked&at=/);
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export CSV' }).click()]);
  expect(readFileSync(await file.path(), 'utf8')).toMatch(/^accepted,stream,place,type,subject,what\n\d{4}-.*,\$parked,0:\d+,tradewind\.parked\./);
  await list.getByRole('link', { name: /^\$parked 0:/ }).first().click();
  await expect(page).toHaveURL(/\/streams\/%24parked\?partition=0&from=/);
  await expect(page.getByRole('region', { name: /^Event 0:/ })).toBeVisible();
});

test('a span of time leaves out what was done before and after', async ({ page, node, at }) => {
  const clock = (): string => new Date().toISOString();
  await node.sql('CREATE STREAM IF NOT EXISTS before_span');
  const since = clock();
  await node.sql('CREATE STREAM IF NOT EXISTS within_span');
  const until = clock();
  await expect.poll(clock).not.toBe(until);
  await node.sql('CREATE STREAM IF NOT EXISTS after_span');
  await at(`/audit?stream=%24config&since=${since}&until=${until}`);
  const list = page.getByRole('region', { name: 'What was done' });
  await expect(list).toContainText('The stream “within_span” was created: 4 partitions.');
  await expect(list.getByRole('row')).toHaveCount(2);
  await page.getByLabel('Until').fill('');
  await expect(list).toContainText('“after_span”');
  await expect(list).not.toContainText('“before_span”');
});
