// The console without the node: it opens, says what was seen last and since when that is old, and has kept nothing that is in a stream.
import { expect, test, TestNode } from './node';

test('without the node the console opens, shows what was seen last, and keeps no event', async ({ page, complaints }) => {
  const own = new TestNode();
  try {
    await own.start();
    await own.sql('CREATE STREAM secrets WITH (partitions = 1)');
    await own.sql("CREATE PROJECTION sums AS SELECT sum((data->>'n')::int) AS n FROM secrets");
    await own.append('secrets', [{ type: 'told', subject: 'hush', data: { n: 'xyzzy' } }]);
    await own.parked(1, 'sums');
    await page.goto(`${own.url}/streams/secrets`);
    await expect(page.getByText('{n: "xyzzy"}')).toBeVisible();
    await page.goto(own.url);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(/need/);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await expect.poll(() => page.evaluate(() => caches.has('snapshot'))).toBe(true);

    const kept = await page.evaluate(async () => {
      const texts: Record<string, string> = {};
      for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) texts[new URL(request.url).pathname] = (await (await cache.match(request, { ignoreVary: true }))?.text()) ?? '';
      }
      return texts;
    });
    expect(Object.keys(kept).filter((path) => path !== '/' && path !== '/snapshot' && !path.startsWith('/assets/'))).toEqual([]);
    expect(kept['/snapshot']).toContain('"secrets"');
    for (const [path, text] of Object.entries(kept)) expect(text.includes('xyzzy'), path).toBe(false);

    await own.vanish();
    await page.goto(`${own.url}/projections`);
    await expect(page.getByText('The node does not answer.')).toBeVisible();
    await expect(page.getByRole('link', { name: 'sums' })).toBeVisible();
    await page.goto(own.url);
    await expect(page.getByRole('link', { name: 'secrets' })).toBeVisible();
    await expect(page.getByRole('status').filter({ hasText: 'stale since' })).toContainText(/stale since \d{4}-/);
    await own.start();
    await expect(page.getByText('The node does not answer.')).toHaveCount(0);
    await expect(page.locator('.reasons')).toContainText('could not be processed');
  } finally {
    await own.stop();
  }
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/net::ERR_|status of 50\d/.test(it)));
});

test('the manifest names icons that are there', async ({ page, node }) => {
  const answer = await fetch(`${node.url}/manifest.webmanifest`);
  // A node that does not serve the worker does not serve this either.
  if (!answer.headers.get('content-type')?.includes('manifest')) return expect(answer.status).toBe(404);
  const manifest = (await answer.json()) as { icons: { src: string; sizes: string; type: string }[]; start_url: string };
  expect(manifest.icons.map((it) => it.sizes)).toEqual(['any', '192x192', '512x512', '512x512']);
  await page.goto(node.url);
  for (const { src, sizes, type } of manifest.icons) {
    const icon = await fetch(node.url + src);
    expect([icon.status, icon.headers.get('content-type')?.split(';')[0]], src).toEqual([200, type]);
    if (type !== 'image/png') continue;
    // It is a picture of its size, as a browser reads it.
    const size = await page.evaluate(async (url) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      return `${image.naturalWidth}x${image.naturalHeight}`;
    }, src);
    expect(size).toBe(sizes);
  }
});
