// The browser of events: filters, places, histories, live reading, a new event, and what others wrote.
import { readFileSync } from 'node:fs';
import { lookTwice } from './look';
import { expect, HOSTILE, test } from './node';

test('the server filters, the address says what is shown, and shows it again', async ({ page, at }) => {
  await at('/streams/shop.orders');
  await expect(page.getByText('100 events, the newest first')).toBeVisible();
  await page.getByLabel('Only types that start with').fill('order.ship');
  await page.getByLabel('Only types that start with').press('Enter');
  await expect(page.getByText('80 events, the newest first')).toBeVisible();
  await page.getByLabel('Only this subject').fill('order-7');
  await page.getByLabel('Only this subject').press('Enter');
  await expect(page.getByText('1 event, the newest first')).toBeVisible();
  await expect(page).toHaveURL(/type=order\.ship&subject=order-7/);
  await page.reload();
  await expect(page.getByText('1 event, the newest first')).toBeVisible();
});

test('what is in the data is found by the server, by text, by path and by attribute', async ({ page, at, complaints }) => {
  await at('/streams/shop.orders');
  await page.getByLabel('Only with this text').fill('SHIPPED');
  await page.getByLabel('Only with this text').press('Enter');
  await expect(page.getByText('80 events, the newest first')).toBeVisible();
  await page.getByText('More filters').click();
  await page.getByLabel('In the data').fill('$.id=7');
  await page.getByLabel('In the data').press('Enter');
  await expect(page.getByText('1 event, the newest first')).toBeVisible();
  await expect(page.getByText('More filters (1)')).toBeVisible();
  await page.getByLabel('An attribute and its value').fill('subject=order-8');
  await page.getByLabel('An attribute and its value').press('Enter');
  await expect(page.getByText('No event matches')).toBeVisible();
  await page.getByRole('button', { name: 'Show all' }).click();
  await expect(page.getByText('100 events, the newest first')).toBeVisible();
  await at('/streams/shop.orders?json=id');
  await expect(page.getByText('write a path of JSONPath')).toBeVisible();
  // The browser says that the node refused it.
  await expect.poll(() => complaints.join()).toContain('400 (Bad Request)');
  complaints.splice(0);
});

test('reading goes on page by page from the earliest, and back', async ({ page, at }) => {
  await at('/streams/shop.orders');
  await page.getByRole('combobox', { name: 'Start' }).selectOption('earliest');
  await page.getByRole('button', { name: 'Next page' }).click();
  await page.getByRole('button', { name: 'Next page' }).click();
  await expect(page.getByText('This is the end for now.')).toBeVisible();
  await expect(page.getByText('40 events', { exact: true })).toBeVisible();
  await page.goBack();
  await expect(page.getByText('100 events')).toBeVisible();
  await at('/streams/shop.orders?partition=1&from=5');
  await expect(page.getByRole('button', { name: 'Show the event 1:5' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Show the event 1:4' })).toHaveCount(0);
});

test('reading goes back page by page from the newest to the beginning, and a reload shows the same page', async ({ page, at }) => {
  await at('/streams/shop.orders');
  await expect(page.getByText('100 events, the newest first')).toBeVisible();
  await page.getByRole('button', { name: 'Older ones' }).click();
  await expect(page).toHaveURL(/from=tw1.*order=desc/);
  await page.getByRole('button', { name: 'Older ones' }).click();
  await expect(page.getByText('40 events, the newest first')).toBeVisible();
  await expect(page.getByText('This is the beginning.')).toBeVisible();
  // The last row is the first event of its partition.
  const list = page.getByRole('region', { name: 'Events' });
  await list.evaluate((it) => (it.scrollTop = it.scrollHeight));
  await expect(list.getByRole('button').last()).toHaveText(/^\d:0$/);
  await page.reload();
  await expect(page.getByText('40 events, the newest first')).toBeVisible();
  await page.getByRole('combobox', { name: 'Start' }).selectOption('earliest');
  await expect(page.getByText('100 events', { exact: true })).toBeVisible();
});

test('several streams are watched in one list, and the address says which', async ({ page, node, at }) => {
  for (const name of ['left', 'right']) await node.sql(`CREATE STREAM IF NOT EXISTS ${name} WITH (partitions = 1)`);
  await at('/streams?q=left');
  await page.getByRole('link', { name: 'Watch them live' }).click();
  await page.getByLabel('Another stream').fill('right');
  await page.getByRole('button', { name: 'Add' }).click();
  await expect(page).toHaveURL(/streams=left%2Cright/);
  await expect(page.getByText('0 events so far')).toBeVisible();
  await node.append('left', [{ type: 'l', subject: 'one', data: { n: 1 } }]);
  await node.append('right', [{ type: 'r', subject: 'two', data: { n: 2 } }]);
  await expect(page.getByText('2 events so far')).toBeVisible();
  await expect(page.getByRole('row', { name: /left/ })).toContainText('{n: 1}');
  await page.getByRole('button', { name: 'Show the event right 0:0' }).click();
  await expect(page.getByRole('region', { name: 'Event 0:0' }).locator('pre')).toContainText('"n": 2');
  await lookTwice(page, 'watch');
  await page.keyboard.press('Escape');
  await page.getByLabel('Only types that start with').fill('r');
  await page.getByLabel('Only types that start with').press('Enter');
  await expect(page.getByText('0 events so far')).toBeVisible();
  await node.append('left', [{ type: 'l', data: { n: 3 } }]);
  await node.append('right', [{ type: 'r', data: { n: 4 } }]);
  await expect(page.getByText('{n: 4}')).toBeVisible();
  await expect(page.getByText('{n: 3}')).toHaveCount(0);
  await page.getByRole('button', { name: 'Leave out right' }).click();
  await expect(page).toHaveURL(/streams=left(&|$)/);
});

test('keys move in the list and open an event', async ({ page, at }) => {
  await at('/streams/shop.orders?from=earliest&partition=0');
  await expect(page.getByRole('button', { name: 'Show the event 0:0' })).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('region', { name: 'Event 0:0' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('region', { name: 'Event 0:0' })).toHaveCount(0);
});

test('numbers keep their digits, on the screen and in an export', async ({ page, at }) => {
  await at('/streams/notes?subject=digits');
  await page.getByRole('button', { name: /Show the event/ }).click();
  const event = page.getByRole('region', { name: /^Event / });
  await expect(event.locator('pre')).toContainText('"big": 12345678901234567890');
  await expect(event.locator('pre')).toContainText('"exact": 1.10');
  await page.getByText('Export', { exact: true }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'These, as NDJSON' }).click()]);
  expect(readFileSync(await file.path(), 'utf8')).toContain('"data":{"big":12345678901234567890,"exact":1.10,"tiny":1e-30}');
});

test('all that match are written into a file while they come, without a bound, and a refusal is told', async ({ page, node, at, complaints }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS exported WITH (partitions = 1)');
  const some = Array.from({ length: 60_000 }, (_, n) => ({ type: n % 2 ? 'odd' : 'even', data: `{"n":${n}}` }));
  for (const part of [some.slice(0, 30_000), some.slice(30_000)]) await node.append('exported', part);
  await at('/streams/exported?type=odd');
  await page.evaluate(() => navigator.serviceWorker.ready);
  await expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
  await page.getByText('Export', { exact: true }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'All that match, as NDJSON' }).click()]);
  expect(file.suggestedFilename()).toBe('exported.ndjson');
  const lines = readFileSync(await file.path(), 'utf8').trim().split('\n');
  expect(lines.length).toBe(30_000);
  expect((JSON.parse(lines[0] ?? '') as { data: unknown }).data).toEqual({ n: 1 });
  // The page is still there, and says so if there is nothing to be had.
  await expect(page.locator('.note')).toContainText('The browser writes the file');
  await node.sql('DROP STREAM exported');
  await page.getByRole('button', { name: 'All that match, as NDJSON' }).click();
  await expect(page.locator('.note')).toContainText('`exported`');
  await expect(page).toHaveURL(/streams\/exported/);
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of 404/.test(it)));
});

test('what others wrote is text: it does not run, and shows what it hides', async ({ page, at }) => {
  await at('/streams/notes');
  const shown = HOSTILE.replace('\u202e', '\\u202e');
  await expect(page.getByRole('cell', { name: shown }).first()).toBeVisible();
  await page.getByRole('row', { name: shown }).getByRole('button').click();
  await expect(page.getByRole('region', { name: /^Event / }).locator('pre')).toContainText('onerror=');
  await page.getByRole('link', { name: 'History of its subject' }).click();
  await expect(page.getByText('1 version', { exact: true })).toBeVisible();
  await expect(page.locator('img')).toHaveCount(0);
  await expect(page).not.toHaveTitle(/owned/);
});

test('a large value is cut on the screen and whole in a file', async ({ page, at }) => {
  await at('/streams/notes?subject=long');
  await page.getByRole('button', { name: /Show the event/ }).click();
  const event = page.getByRole('region', { name: /^Event / });
  await expect(event.getByText('The first 32.0 kB of 900 kB are shown')).toBeVisible();
  expect((await event.locator('pre').innerText()).length).toBeLessThan(40_000);
  const [file] = await Promise.all([page.waitForEvent('download'), event.getByRole('button', { name: /^Download/ }).click()]);
  expect((JSON.parse(readFileSync(await file.path(), 'utf8')) as { text: string }).text.length).toBe(900_000);
});

test('the history of a subject shows what each version changed', async ({ page, at }) => {
  await at('/streams/notes?tab=subject&subject=diff');
  await expect(page.getByText('2 versions')).toBeVisible();
  await expect(page.getByRole('row', { name: /b\.c/ })).toContainText('"old"');
  await expect(page.getByRole('row', { name: /b\.c/ })).toContainText('"new"');
  await expect(page.getByRole('row', { name: /^d / })).toContainText('not there');
});

test('live events come by themselves, wait while paused, and none is lost', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS ticks');
  await at('/streams/ticks?live=1');
  await expect(page.getByText('0 events so far')).toBeVisible();
  await node.append('ticks', [{ type: 'tick', data: { n: 1 } }]);
  await expect(page.getByText('{n: 1}')).toBeVisible();
  await page.getByRole('button', { name: 'Pause' }).click();
  await node.append('ticks', [{ type: 'tick', data: { n: 2 } }, { type: 'tick', data: { n: 3 } }]);
  await expect(page.getByRole('button', { name: 'Go on (2 new)' })).toBeVisible();
  await expect(page.getByText('{n: 2}')).toHaveCount(0);
  await page.getByRole('button', { name: 'Go on (2 new)' }).click();
  await expect(page.getByText('{n: 3}')).toBeVisible();
  await expect(page.getByText('{n: 2}')).toBeVisible();
});

test('an event that is put is stored as it was typed', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS typed');
  await at('/streams/typed?tab=produce');
  await page.getByLabel('Type', { exact: true }).fill('größe.gesetzt');
  await page.getByLabel('Subject, its key').fill('a/b c');
  await page.getByLabel('Data, JSON').fill('{"n": 12345678901234567890');
  await expect(page.getByRole('button', { name: 'Put the event' })).toBeDisabled();
  await page.getByLabel('Data, JSON').fill('{"n": 12345678901234567890}');
  await page.getByRole('button', { name: 'Put the event' }).click();
  await page.getByRole('status').getByRole('link').click();
  const event = page.getByRole('region', { name: /^Event / });
  await expect(event.locator('pre')).toContainText('12345678901234567890');
  await expect(event).toContainText('größe.gesetzt');
  await expect(event).toContainText('a/b c');
});
