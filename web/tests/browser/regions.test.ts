// Two regions and a stream with a home: it is moved, taken over when its region is gone, given back; and a region is drained.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { lookTwice } from './look';
import { expect, freePort, test, TestNode, until } from './node';

type Region = { node: TestNode; homes: () => Promise<{ stream: string; home: number; open: boolean }[]> };

/** Starts both, with certificates of an authority of their own, and waits until each reaches the other. */
async function start(): Promise<{ one: Region; two: Region; stop: () => Promise<void> }> {
  const ca = mkdtempSync(join(tmpdir(), 'tradewind-ca-'));
  const run = (...args: string[]): Buffer => execFileSync(process.env.TRADEWIND_BIN ?? '', args, { cwd: ca, stdio: 'pipe' });
  run('region', 'ca', 'init');
  const ports = [await freePort(), await freePort()];
  const nodes = ports.map((port, n) => {
    const peer = `[[region.peers]]\nid = ${2 - n}\naddress = "127.0.0.1:${ports[1 - n]}"\n`;
    return new TestNode(`\n[region]\nid = ${n + 1}\nlisten = "127.0.0.1:${port}"\n\n${peer}`);
  });
  for (const [n, node] of nodes.entries()) run('region', 'ca', 'issue', String(n + 1), `region-${n + 1}`, '--into', join(node.folder, 'region'));
  await Promise.all(nodes.map((node) => node.start()));
  const [one, two] = nodes.map((node) => ({
    node,
    homes: async () => ((await (await fetch(`${node.api}/v1/regions/homes`)).json()) as { homes: Awaited<ReturnType<Region['homes']>> }).homes,
  }));
  if (!one || !two) throw new Error('there are two of them');
  const linked = async (it: Region): Promise<boolean> => ((await (await fetch(`${it.node.api}/v1/regions`)).json()) as { peers: { link: string }[] }).peers.every(({ link }) => link === 'in-sync');
  await until('links between the regions', async () => (await linked(one)) && (await linked(two)));
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
    rmSync(ca, { recursive: true, force: true });
  };
  return { one, two, stop };
}

/** Types the name into the question, once its answer of what it would do is there, and has it done. */
async function confirm(page: Page, would: RegExp, name: string): Promise<void> {
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('region', { name: 'What it would do' })).toContainText(would);
  const go = dialog.getByRole('button', { name: 'Do it' });
  await expect(go).toBeDisabled();
  await dialog.getByRole('textbox').fill(name);
  await go.click();
}

test('a home is moved, taken over and given back, and a region is drained: each after its dry run and its name', async ({ page, complaints }) => {
  test.setTimeout(180_000);
  const { one, two, stop } = await start();
  const home = (it: Region) => async (): Promise<string> => (await it.homes()).map(({ stream, home, open }) => `${stream} ${home} ${open}`).join();
  try {
    await one.node.sql("CREATE STREAM ledger (amount bigint) WITH (partitions = 1, mode = 'home-region', home = 1)");
    await expect.poll(home(two)).toBe('ledger 1 false');
    await page.goto(`${one.node.url}/regions`);
    await expect(page.getByText('1 stream written in every region')).toBeVisible();

    await page.getByRole('button', { name: 'Move ledger …' }).click();
    await expect(page.getByRole('dialog').getByRole('row', { name: /ledger/ })).toBeVisible();
    await lookTwice(page, 'move');
    await confirm(page, /ledger\s*2\s*1/, 'ledger');
    await expect(page.locator('.note')).toContainText('Done: 1 stream has another home.');
    await expect.poll(home(two)).toBe('ledger 2 true');
    await two.node.append('ledger', [{ type: 'entry', subject: 'ada', data: { amount: 1 } }]);
    await expect(page.getByRole('row', { name: /ledger/ })).toContainText('from 1, planned');

    await two.node.halt();
    await expect(page.getByRole('row', { name: /region-2/ })).toContainText('down');
    await page.getByRole('button', { name: 'Take ledger over …' }).click();
    const dialog = page.getByRole('dialog');
    await expect(dialog).toContainText('The link is down');
    await expect(dialog.getByRole('row', { name: /ledger/ })).toContainText('0 events');
    // Nobody can see from here that it is stopped, so somebody must say it.
    await confirm(page, /ledger/, 'ledger');
    await expect(dialog.getByRole('alert')).toContainText('stopped');
    await dialog.getByRole('checkbox', { name: /The region is stopped/ }).check();
    await dialog.getByRole('button', { name: 'Do it' }).click();
    await expect.poll(home(one)).toBe('ledger 1 true');

    await two.node.start();
    await page.getByRole('button', { name: 'Read the latest' }).first().click();
    await expect(async () => {
      await page.getByRole('button', { name: 'Read the latest' }).first().click();
      await expect(page.getByText('Region 2 told all that is at risk of “ledger”: 0 events.')).toBeVisible({ timeout: 1_000 });
    }).toPass();
    await lookTwice(page, 'regions');
    await page.getByRole('button', { name: 'Give back …' }).click();
    await confirm(page, /ledger\s*2\s*3/, 'region-2');
    await expect.poll(home(two)).toBe('ledger 2 true');

    await page.getByRole('button', { name: 'Drain this region …' }).click();
    await confirm(page, /No stream gets another home/, 'region-1');
    await expect(page.getByText('This region is drained.')).toBeVisible();
    await page.getByRole('button', { name: 'End the drain …' }).click();
    await confirm(page, /No stream gets another home/, 'region-1');
    await expect(page.getByRole('button', { name: 'Drain this region …' })).toBeVisible();
    await page.goto(`${one.node.url}/audit?stream=%24homes`);
    await expect(page.getByText('Region 1 took the stream “ledger” over from region 2, which was gone.')).toBeVisible();
  } finally {
    // What a page asks of a node that ends is of no matter here.
    await page.goto('about:blank');
    await stop();
  }
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of (409|400)/.test(it)));
});
