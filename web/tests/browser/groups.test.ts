// Consumer groups of Kafka: a program that is not ours reads a stream, is seen, and is made to read again.
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { java, test, type TestCluster } from './cluster';
import { lookTwice, PICTURES } from './look';
import { expect } from './node';

const STREAM = 'shop.bills';
const EVENTS = 40;
const READ = 30;

/** A reader that has read and committed, and is a member until it is ended. */
class Reader {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  constructor(cluster: TestCluster, group: string, events: number) {
    const { program, jars } = java();
    const topics = `^[^.]+\\.${STREAM.replace('.', '\\.')}\\.\\d+$`;
    this.#child = spawn(program, ['-cp', jars, join(import.meta.dirname, 'Reader.java'), cluster.kafka, group, topics, String(events)]);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#ended = new Promise((ended) => this.#child.once('exit', ended));
    this.#child.stderr.resume();
  }

  async says(): Promise<unknown> {
    return ((await this.#lines.next()) as { value: unknown }).value;
  }

  /** Has it leave the group. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

test('a node that keeps its log itself has no page of groups', async ({ page, at }) => {
  await at('/');
  await expect(page.getByRole('link', { name: 'Streams' }).first()).toBeVisible();
  await expect(page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Groups' })).toHaveCount(0);
  await at('/streams/notes?tab=definition');
  await expect(page.getByRole('region', { name: 'Read by' }).getByRole('row', { name: /subjects/ })).toContainText('projection');
});

test('a consumer group is seen with its lag and its members, is not reset while it runs, and reads again after it was', async ({ page, cluster, complaints }) => {
  test.setTimeout(180_000);
  await cluster.create(STREAM, '', 2);
  const bills = Array.from({ length: EVENTS }, (_, n) => ({ type: 'bill.sent', subject: `bill-${n}`, data: { n } }));
  await cluster.append(STREAM, bills);
  const reader = new Reader(cluster, 'accounting', READ);
  try {
    expect(await reader.says()).toBe(`read ${READ}`);
    await page.goto(cluster.url);
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Groups' }).click();
    const row = page.getByRole('row', { name: /accounting/ });
    await expect(row).toContainText(/stable/i);
    await expect(row.getByRole('cell').nth(2)).toHaveText(String(EVENTS - READ));
    await expect(row.getByRole('cell').nth(3)).toHaveText('1');
    await lookTwice(page, 'groups');
    await row.getByRole('link', { name: 'accounting' }).click();
    await expect(page.getByText(`1 member, ${EVENTS - READ} events are unread.`)).toBeVisible();
    await expect(page.getByRole('region', { name: 'Members' }).getByRole('row', { name: /reader/ })).toContainText(`${STREAM}/0, ${STREAM}/1`);
    await lookTwice(page, 'group');
    const form = page.getByRole('region', { name: 'Read on from somewhere else' });
    await form.getByRole('button', { name: 'See what it would do …' }).click();
    await expect(form.getByRole('alert')).toContainText('member');
  } finally {
    await Promise.race([reader.end(), new Promise((late) => setTimeout(late, 30_000))]);
    reader.kill();
  }

  // It is shown where the stream is, too.
  await page.goto(`${cluster.url}/streams/${STREAM}?tab=definition`);
  await page.getByRole('region', { name: 'Read by' }).getByRole('link', { name: 'accounting' }).click();
  await expect(page.getByText(`0 members, ${EVENTS - READ} events are unread.`)).toBeVisible();
  const form = page.getByRole('region', { name: 'Read on from somewhere else' });
  await form.getByLabel('Partitions').fill('7');
  await expect(form).toContainText('Partitions are numbers and spans of them');
  await form.getByLabel('Partitions').fill('');
  await form.getByRole('button', { name: 'See what it would do …' }).click();
  const dialog = page.getByRole('dialog');
  const would = dialog.getByRole('region', { name: 'What it would do' });
  await expect(would).toContainText(/\d+ events are read again\./);
  await expect(would.getByRole('row')).toHaveCount(3);
  await lookTwice(page, 'group-reset');
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: join(PICTURES, 'group-reset-narrow.png') });
  const go = dialog.getByRole('button', { name: 'Reset the group' });
  await expect(go).toBeDisabled();
  await dialog.getByRole('textbox').fill('accounting');
  await go.click();
  await expect(page.locator('.note')).toContainText(`Reset: 2 partitions of ${STREAM}.`);
  await expect(page.getByText(`0 members, ${EVENTS} events are unread.`)).toBeVisible();

  // Kafka itself holds to it: the next member reads everything again.
  const second = new Reader(cluster, 'accounting', EVENTS);
  try {
    expect(await second.says()).toBe(`read ${EVENTS}`);
    await expect(page.getByText('1 member, nothing is unread.')).toBeVisible();
    expect(await page.evaluate(() => document.querySelector('main')!.scrollWidth - innerWidth), 'pixels that hang over').toBeLessThanOrEqual(0);
  } finally {
    await Promise.race([second.end(), new Promise((late) => setTimeout(late, 30_000))]);
    second.kill();
  }
  complaints.splice(0, complaints.length, ...complaints.filter((it) => !/status of 409/.test(it)));
});
