// Every page, in both themes and on a narrow screen: drawn, without a finding that keeps somebody out, and as a picture.
import { join } from 'node:path';
import { look, PICTURES } from './look';
import { expect, test } from './node';

const PAGES: [string, string, RegExp][] = [
  ['overview', '/', /^busiest/i],
  ['streams', '/streams', /shop\.orders/],
  ['stream', '/streams/shop.orders?partition=0&from=5&at=0%3A5', /specversion/],
  ['events', '/streams/shop.orders', /100 events, the newest first/],
  ['history', '/streams/shop.orders?tab=subject&subject=order-7', /3 versions/],
  ['definition', '/streams/shop.orders?tab=definition', /numeric\(12,2\)/],
  ['produce', '/streams/shop.orders?tab=produce', /Data, JSON/],
  ['projections', '/projections', /by_state/],
  ['projection', '/projections/by_state', /\d rows?$/],
  ['parked', '/parked?at=stuck%2Fnumbers%2F0%2F0', /The event in its stream/],
  ['correct', '/parked?at=stuck%2Fnumbers%2F0%2F0&correct=1', /Nothing is changed yet/],
  ['sql', '/sql?q=SELECT%20*%20FROM%20by_state%20ORDER%20BY%20state', /Answered in/],
  ['chart', '/sql?view=chart&q=SELECT%20state%2C%20orders%20FROM%20by_state%20ORDER%20BY%20state', /^Along/],
  ['plan', '/sql?q=EXPLAIN%20SELECT%20state%2C%20sum(total)%20FROM%20shop.orders%20GROUP%20BY%20state%20ORDER%20BY%201', /^\s*AggregateExec/],
  ['sources', '/sources', /No sources yet/],
  ['audit', '/audit?q=by_state', /The projection “by_state” was created/],
  ['locks', '/locks', /Nobody holds a lock/],
  ['configuration', '/config?q=http&key=http.requests_max', /Set on every node/],
  ['nothing', '/no/such/page', /Nothing is here/],
];

test.beforeAll(async ({ node }) => {
  await node.sql('CREATE STREAM IF NOT EXISTS numbers WITH (partitions = 1)');
  const made = await node.sql('SHOW PROJECTIONS');
  if (made.rows?.some(([name]) => name === 'stuck')) return;
  await node.sql("CREATE PROJECTION stuck AS SELECT sum((data->>'n')::int) AS n FROM numbers");
  await node.append('numbers', [{ type: 'number', subject: 'x', data: { n: 'many' } }]);
  await node.parked(1, 'stuck');
});

for (const scheme of ['light', 'dark'] as const) {
  test.describe(scheme, () => {
    test.use({ colorScheme: scheme });
    for (const [name, path, shown] of PAGES) {
      test(`${name} is drawn, and nobody is kept out of it`, async ({ page, at }) => {
        await at(path);
        await expect(page.getByText(shown).filter({ visible: true }).first()).toBeVisible();
        await look(page, `${name}-${scheme}`);
      });
    }
  });
}

test.describe('on a narrow screen', () => {
  test.use({ viewport: { width: 390, height: 844 } });
  for (const [name, path, shown] of PAGES) {
    test(`${name} fits`, async ({ page, at }) => {
      await at(path);
      await expect(page.getByText(shown).filter({ visible: true }).first()).toBeVisible();
      const wide = await page.evaluate(() => document.querySelector('main')!.scrollWidth - innerWidth);
      expect(wide, 'pixels that hang over').toBeLessThanOrEqual(0);
      await page.screenshot({ path: join(PICTURES, `${name}-narrow.png`) });
    });
  }

  test('the columns of a long list take its whole width, whatever is left out', async ({ page, at }) => {
    await at('/config');
    const list = page.getByRole('region', { name: 'Options' });
    await expect(list.getByRole('columnheader', { name: /Option/ })).toBeVisible();
    const free = (): Promise<number> =>
      list.evaluate((it) => it.clientWidth - [...it.querySelectorAll('th')].reduce((sum, head) => sum + head.getBoundingClientRect().width, 0));
    await expect.poll(free).toBeLessThan(2);
    await list.evaluate((it) => (it.scrollTop = it.scrollHeight / 2));
    await expect.poll(free).toBeLessThan(2);
  });

  test('the menu opens and leads on', async ({ page, at }) => {
    await at('/');
    await expect(page.getByRole('navigation', { name: 'Pages' })).toBeHidden();
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Streams' }).click();
    await expect(page.getByRole('heading', { name: 'Streams' })).toBeVisible();
  });
});
