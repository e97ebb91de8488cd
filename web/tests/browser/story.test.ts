// Somebody who has never seen the console finds what is wrong, mends it, and sees that it is well.
import { expect, test } from './node';

// Nothing else may need attention.
test.use({ own: 'story' });

test('from the overview to a parked event, to its remedy, to a projection that is right', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM payments WITH (partitions = 1)');
  await node.sql("CREATE PROJECTION paid AS SELECT data->>'who' AS who, sum((data->>'amount')::int) AS amount FROM payments GROUP BY 1");
  await node.append('payments', [
    { type: 'paid', subject: 'ann', data: { who: 'ann', amount: 10 } },
    { type: 'paid', subject: 'bob', data: { who: 'bob', amount: 'twenty' } },
    { type: 'paid', subject: 'bob', data: { who: 'bob', amount: 5 } },
  ]);
  await node.parked(1, 'paid');

  await at('/');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(/^1 thing needs attention/);
  await expect(page).toHaveTitle(/^! /);
  await page.locator('.reasons').getByRole('link', { name: 'paid' }).click();
  await expect(page.getByRole('heading', { name: 'Parked events' })).toBeVisible();
  await page.getByRole('button', { name: 'paid/payments/0/1' }).click();
  const event = page.getByRole('region', { name: /parked event paid/ });
  await expect(event).toContainText('invalid input syntax for type integer: `twenty`');
  await expect(event).toContainText('1 later event of its subject waits behind it');
  await expect(event.locator('pre')).toContainText('"twenty"');

  // A retry alone does not help, and says so by staying.
  await event.getByRole('button', { name: 'Retry' }).click();
  await expect(page.locator('.note')).toContainText('Tried again: 1 event.');
  await node.parked(1, 'paid');
  await event.getByRole('link', { name: 'Change the projection' }).click();
  const statement = page.getByLabel('Statement');
  await expect(statement).toHaveValue(/^CREATE OR REPLACE PROJECTION "paid" AS/);
  await expect(page.locator('.rows')).toHaveCount(0);
  const mended = "CREATE OR REPLACE PROJECTION \"paid\" AS SELECT data->>'who' AS who, sum(CASE data->>'amount' WHEN 'twenty' THEN 20 ELSE (data->>'amount')::int END) AS amount FROM payments GROUP BY 1";
  await statement.fill(mended);
  await statement.press('Control+Enter');
  await expect(page.getByText('projection `paid`')).toBeVisible();

  await page.getByRole('link', { name: 'Overview' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('All is well.');
  await page.locator('main').getByRole('link', { name: 'paid', exact: true }).click();
  await expect(page.getByRole('row', { name: /bob/ })).toContainText('25');
  await expect(page.getByRole('row', { name: /ann/ })).toContainText('10');
});

test('a parked event is left out only after its name was typed, and what waits behind it goes on', async ({ page, node, at }) => {
  await node.sql('CREATE STREAM refunds WITH (partitions = 1)');
  await node.sql("CREATE PROJECTION refunded AS SELECT sum((data->>'amount')::int) AS amount FROM refunds");
  const bad = [0, 1].map((n) => ({ type: 'refund', subject: `s${n}`, data: { amount: 'none' } }));
  await node.append('refunds', [...bad, { type: 'refund', subject: 's0', data: { amount: 7 } }]);
  await node.parked(2, 'refunded');

  await at('/parked?view=refunded');
  await page.getByRole('checkbox', { name: 'all 2' }).check();
  await page.getByRole('button', { name: 'Drop 2 …' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('button', { name: 'Drop 2 events' })).toBeDisabled();
  await dialog.getByRole('textbox').fill('drop 3');
  await expect(dialog.getByRole('button', { name: 'Drop 2 events' })).toBeDisabled();
  await dialog.getByRole('textbox').fill('drop 2');
  await dialog.getByRole('button', { name: 'Drop 2 events' }).click();
  await expect(page.getByRole('heading', { name: 'No parked event matches' })).toBeVisible();
  await expect.poll(async () => (await node.sql('SELECT amount FROM refunded')).rows).toEqual([[7]]);
});

test('a parked event is corrected: the right one is appended, the wrong one skipped, and the history has both', async ({ page, node, at, complaints }) => {
  await node.sql('CREATE STREAM fees WITH (partitions = 1)');
  await node.sql("CREATE PROJECTION fee_sums AS SELECT data->>'who' AS who, sum((data->>'fee')::numeric(30,2)) AS fee FROM fees GROUP BY 1");
  await node.append('fees', [
    { type: 'fee', subject: 'eve', data: '{"who": "eve", "fee": "12,50", "ref": 12345678901234567890}' },
    { type: 'fee', subject: 'eve', data: { who: 'eve', fee: '1.00' } },
  ]);
  await node.parked(1, 'fee_sums');

  await at('/parked?view=fee_sums');
  await page.getByRole('button', { name: 'fee_sums/fees/0/0' }).click();
  await page.getByRole('button', { name: 'Correct …' }).click();
  const form = page.getByRole('region', { name: 'Correct the event' });
  await expect(form.getByRole('listitem')).toHaveCount(2);
  await expect(form).toContainText('The first event stays in the history of the stream.');
  await expect(form.getByLabel('Subject, the same')).toHaveValue('eve');
  // As it is it would fail again.
  const send = form.getByRole('button', { name: 'Append it, then drop the parked one' });
  await expect(send).toBeDisabled();
  const data = form.getByLabel('Data, JSON');
  await expect(data).toHaveValue(/"ref": 12345678901234567890/);

  // Nothing is dropped while the first step is refused.
  await page.route('**/v1/streams/fees/events', (route) => route.fulfill({ status: 503, json: { code: 'overloaded', detail: 'full for a moment' } }), { times: 1 });
  await data.fill((await data.inputValue()).replace('12,50', '12.50'));
  await send.click();
  await expect(form.getByRole('alert')).toContainText('full for a moment');
  await node.parked(1, 'fee_sums');

  // The second step is refused once: what is stored is not stored again.
  await page.route('**/v1/parked/**', (route) => (route.request().method() === 'DELETE' ? route.fulfill({ status: 503, json: { code: 'overloaded', detail: 'not now' } }) : route.fallback()), { times: 1 });
  await send.click();
  await expect(form.getByRole('alert')).toContainText('The corrected event is stored, and the parked one could not be dropped: not now');
  await form.getByRole('button', { name: 'Drop the parked event' }).click();
  await expect(page.locator('.note')).toContainText('Corrected: the new event is at 0:2');
  await expect.poll(async () => (await node.sql('SELECT who, fee FROM fee_sums')).rows).toEqual([['eve', '13.50']]);
  await at('/streams/fees?tab=subject&subject=eve');
  await expect(page.getByText('3 versions')).toBeVisible();
  await node.parked(0, 'fee_sums');
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of 503/.test(it)));
});
