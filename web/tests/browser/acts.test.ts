// What people do: statements, projections, options.
import { readFileSync } from 'node:fs';
import { expect, test } from './node';

test('a statement is run, explained, kept, shared and exported', async ({ page, at }) => {
  await at('/sql');
  const statement = page.getByLabel('Statement');
  await statement.fill('SELECT state, orders, total FROM by_state ORDER BY state');
  await statement.press('Control+Enter');
  await expect(page.getByRole('row', { name: /paid/ })).toContainText('3200.00');
  await expect(page).toHaveURL(/q=SELECT%20state/);
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export CSV' }).click()]);
  expect(readFileSync(await file.path(), 'utf8')).toBe('state,orders,total\npaid,80,3200.00\nplaced,80,3200.00\nshipped,80,3200.00\n');
  await page.getByRole('button', { name: 'Explain' }).click();
  await expect(page.getByRole('list', { name: 'The plan as text' })).toContainText('SortExec');
  await page.reload();
  const picture = page.getByRole('img', { name: /steps; the text beside it says the same/ });
  await expect(picture.locator('g').filter({ hasText: 'Sort' }).first()).toBeVisible();
  // Each line of the text is a step of the picture.
  expect(await picture.locator('g').count()).toBe(await page.getByRole('list', { name: 'The plan as text' }).getByRole('listitem').count());
  await expect(page.getByRole('button', { name: /^SELECT state/ })).toBeVisible();
});

test('what could come next is offered while a statement is typed, and taken with Tab', async ({ page, at }) => {
  await at('/sql');
  const statement = page.getByLabel('Statement');
  await statement.fill('');
  const offered = page.getByRole('listbox', { name: 'Suggestions' }).getByRole('option');
  await statement.pressSequentially('SELECT * FROM ord');
  await expect(offered.first()).toContainText('shop.orders');
  await page.keyboard.press('Tab');
  await expect(statement).toHaveValue('SELECT * FROM shop.orders');
  await statement.pressSequentially(' o WHERE o.to');
  await expect(offered).toHaveText([/total\s*numeric/]);
  await page.keyboard.press('Escape');
  await expect(offered).toHaveCount(0);
  // Enter makes a line unless one of the list was gone to.
  await statement.pressSequentially('t');
  await page.keyboard.press('Enter');
  await expect(statement).toHaveValue('SELECT * FROM shop.orders o WHERE o.tot\n');
  await statement.fill('SELECT st');
  await statement.press('Control+ ');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(statement).toHaveValue('SELECT strpos(');
  await expect(statement).toBeFocused();
  await page.keyboard.press('Control+z');
  await expect(statement).toHaveValue('SELECT st');
  await expect(page.locator('.layer .keyword')).toHaveText('SELECT');
});

test('rows are drawn as lines or bars, and the address keeps how', async ({ page, at }) => {
  await at('/sql?q=SELECT%20state%2C%20orders%2C%20total%20FROM%20by_state%20ORDER%20BY%20state');
  await page.getByRole('button', { name: 'Chart' }).click();
  const chart = page.getByRole('img', { name: /^orders by state: 3 bars between 0 and 80; the rows below say the same/ });
  await expect(chart.locator('rect.series-0')).toHaveCount(3);
  await page.getByRole('checkbox', { name: 'total' }).check();
  await expect(page.locator('main rect.series-1')).toHaveCount(4);
  await page.getByRole('combobox', { name: 'As' }).selectOption('line');
  await page.reload();
  await expect(page.getByRole('img', { name: /^orders, total by state: 3 points between 80 and 3,200/ })).toBeVisible();
  // Two lines are told apart by their dashes.
  const dashes = await page.locator('figcaption path').evaluateAll((paths) => paths.map((it) => it.getAttribute('stroke-dasharray')));
  expect(dashes).toEqual(['', '7 4']);
  await expect(page.getByRole('row', { name: /paid/ })).toContainText('3200.00');
});

test('what is refused says why, in the words of the node', async ({ page, at, complaints }) => {
  await at('/sql');
  await page.getByLabel('Statement').fill('SELECT * FROM nothing_of_this_name');
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('alert')).toContainText('nothing_of_this_name');
  await expect(page.getByRole('link', { name: 'what that means' })).toHaveAttribute('href', /^\/docs\/errors#/);
  // The browser tells of every answer that is a refusal.
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of 4\d\d/.test(it)));
});

test('a link that would change something waits for a person', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS keep_me');
  await at('/sql?q=DROP%20STREAM%20keep_me');
  await expect(page.getByLabel('Statement')).toHaveValue('DROP STREAM keep_me');
  await expect(page.getByRole('heading', { name: 'SQL' })).toBeVisible();
  expect((await node.sql('SHOW STREAMS')).rows?.some(([name]) => name === 'keep_me')).toBe(true);
});

test('a long statement is cancelled', async ({ page, at }) => {
  await at('/sql');
  // 14 million hashes: seconds, and little memory.
  const orders = 'events."shop.orders"';
  await page.getByLabel('Statement').fill(`SELECT count(*) FROM ${orders} a, ${orders} b, ${orders} c WHERE md5(concat(a._id, b._id, c._id)) = 'x'`);
  await page.getByRole('button', { name: 'Run' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.locator('.note')).toContainText('Cancelled');
  await expect(page.getByRole('button', { name: 'Run' })).toBeEnabled();
});

test('a projection is paused, resumed, rebuilt and dropped', async ({ page, node, at }) => {
  await node.sql('CREATE PROJECTION doomed AS SELECT state, count(*) AS n FROM shop.orders GROUP BY state');
  await at('/projections/doomed');
  await page.getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByRole('button', { name: 'Resume' })).toBeVisible();
  await expect(page.locator('.bar').first()).toContainText('paused');
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect(page.locator('.bar').first()).toContainText('running');
  await page.getByRole('button', { name: 'Rebuild' }).click();
  await expect(page.locator('.note')).toContainText('built anew');
  await expect(page.locator('.bar').first()).toContainText('running');
  await page.getByRole('button', { name: 'Drop …' }).click();
  await page.getByRole('dialog').getByRole('textbox').fill('doomed');
  await page.getByRole('dialog').getByRole('button', { name: 'Drop the projection' }).click();
  await expect(page).toHaveURL(/\/projections$/);
  await expect(page.getByRole('link', { name: 'doomed' })).toHaveCount(0);
});

test('an option is set, has a history, goes back, and a value that does not fit is refused', async ({ page, at, complaints }) => {
  const key = 'http.page_events_max';
  await at(`/config?key=${key}`);
  const option = page.getByRole('region', { name: `The option ${key}` });
  for (const value of ['9000', '8000']) {
    await option.getByLabel('Value, JSON').fill(value);
    await option.getByRole('button', { name: 'Set on every node' }).click();
    await expect(option.getByRole('row').nth(1)).toContainText(value);
  }
  await option.getByRole('button', { name: 'Roll back to this' }).last().click();
  await expect(option.getByLabel('Value, JSON')).toHaveValue('9000');
  await option.getByLabel('Value, JSON').fill('-1');
  await option.getByRole('button', { name: 'Set on every node' }).click();
  await expect(option.getByRole('alert')).toBeVisible();
  await option.getByRole('button', { name: 'Unset' }).click();
  await expect(option.getByRole('row').nth(1)).toContainText('unset');
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of 4\d\d/.test(it)));
});

test('a stream is removed only after its name was typed', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS unloved');
  await at('/streams/unloved?tab=definition');
  await page.getByRole('button', { name: 'Remove the stream …' }).click();
  await page.getByRole('dialog').getByRole('textbox').fill('unloved');
  await page.getByRole('dialog').getByRole('button', { name: 'Remove the stream' }).click();
  await expect(page).toHaveURL(/\/streams$/);
  expect((await node.sql('SHOW STREAMS')).rows?.some(([name]) => name === 'unloved')).toBe(false);
});
