// What all pages share: keys, the palette, links to copy, the theme, a hidden tab, a node that goes away, and long lists.
import { expect, test, TestNode } from './node';

test('the palette jumps to a name, and ? shows the keys', async ({ page, at }) => {
  await at('/');
  await expect(page.getByRole('heading', { level: 1 })).not.toHaveText(/Asking/);
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Keys' })).toBeVisible();
  await page.keyboard.press('Escape');
  await page.keyboard.press(':');
  await page.getByRole('combobox', { name: /Go to/ }).fill('by_st');
  await expect(page.getByRole('option', { name: /by_state/ })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/projections\/by_state$/);
});

test('/ filters a list, j and Enter open a row, and the address keeps the filter', async ({ page, at }) => {
  await at('/streams');
  await expect(page.getByRole('link', { name: 'shop.orders' })).toBeVisible();
  await page.keyboard.press('/');
  await page.keyboard.type('ORD');
  await expect(page.getByRole('link', { name: 'notes' })).toHaveCount(0);
  await expect(page).toHaveURL(/q=ORD/);
  await page.reload();
  await expect(page.getByRole('link', { name: 'shop.orders' })).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/streams\/shop\.orders$/);
});

test('a view is copied as a command and as a request that works', async ({ page, node, at }) => {
  await at('/streams/shop.orders?subject=order-7&from=earliest');
  await page.getByRole('button', { name: 'CLI' }).click();
  const copied = (): Promise<string> => page.evaluate(() => navigator.clipboard.readText());
  await expect.poll(copied).toBe(`tradewind replay shop.orders --from earliest --limit 100 --subject order-7 --url ${node.url}`);
  await page.getByRole('button', { name: 'curl' }).click();
  await expect.poll(copied).toContain('/v1/streams/shop.orders/events?');
  const url = (await copied()).replace(/^curl -sS '?|'$/g, '');
  const answer = (await (await fetch(url)).json()) as { events: unknown[] };
  expect(answer.events.length).toBe(3);
});

test('the theme that is chosen stays', async ({ page, at }) => {
  await at('/locks');
  const ground = (): Promise<string> => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  await page.getByRole('button', { name: 'Theme: system' }).click();
  await page.getByRole('button', { name: 'Theme: light' }).click();
  await expect.poll(ground).not.toBe(light);
  await page.reload();
  await expect(page.getByRole('button', { name: 'Theme: dark' })).toBeVisible();
  await expect.poll(ground).not.toBe(light);
});

test('a hidden tab asks for nothing', async ({ page, at }) => {
  await page.clock.install();
  await at('/parked');
  await expect(page.getByRole('heading', { name: 'Parked events' })).toBeVisible();
  const hide = (hidden: boolean): Promise<void> =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  let asked = 0;
  page.on('request', () => (asked += 1));
  await page.clock.runFor(60_000);
  expect(asked).toBe(0);
  await hide(false);
  await expect.poll(() => asked).toBeGreaterThan(1);
});

test('when the node goes away, what was seen stays, and it comes back by itself', async ({ page, complaints }) => {
  const own = new TestNode();
  try {
    await own.start();
    await own.sql('CREATE STREAM here');
    await page.goto(`${own.url}/streams`);
    await expect(page.getByRole('link', { name: 'here' })).toBeVisible();
    await own.halt();
    await expect(page.getByText('The node does not answer.')).toBeVisible();
    await expect(page.getByRole('link', { name: 'here' })).toBeVisible();
    await own.start();
    await expect(page.getByText('The node does not answer.')).toHaveCount(0);
  } finally {
    await own.stop();
  }
  // The browser itself tells of connections that are refused; nothing else may be told.
  const others = complaints.filter((it) => !/net::ERR_|status of 50\d/.test(it));
  complaints.splice(0, complaints.length, ...others);
});

test('10,000 streams: few rows are in the page, the end is reached, and a filter finds one', async ({ page, at, complaints }) => {
  await page.route('**/v1/live**', (route) => route.abort());
  // The node's own answer, with its streams again and again under other names.
  await page.route('**/v1/streams', async (route) => {
    const answer = await route.fetch();
    const { streams } = (await answer.json()) as { streams: { name: string; id: number }[] };
    const many = Array.from({ length: 10_000 }, (_, n) => ({ ...streams[n % streams.length], id: n, name: `many.${String(n).padStart(5, '0')}` }));
    await route.fulfill({ json: { streams: many } });
  });
  await at('/streams');
  await expect(page.getByRole('link', { name: 'many.00000' })).toBeVisible();
  expect(await page.locator('tbody tr').count()).toBeLessThan(60);
  await page.getByRole('region', { name: 'Streams' }).evaluate((it) => (it.scrollTop = it.scrollHeight));
  await expect(page.getByRole('link', { name: 'many.09999' })).toBeVisible();
  expect(await page.locator('tbody tr').count()).toBeLessThan(60);
  await page.getByLabel('Filter streams').fill('07777');
  await expect(page.getByRole('link', { name: 'many.07777' })).toBeVisible();
  await expect(page.getByText('1 of 10,000')).toBeVisible();
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/net::ERR_/.test(it)));
});
