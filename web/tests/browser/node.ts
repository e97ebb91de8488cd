// A real node for each worker, on a free port and a folder of its own, with a small shop in it; and a page that fails its test
// when the browser complains.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as base, expect } from '@playwright/test';
import { Api } from './api';
import { Preview } from './preview';
import { ended, freePort, until } from './process';

/** Fails where the console is not what it should be. */
export async function servesConsole(url: string): Promise<void> {
  const page = await fetch(url, { headers: { accept: 'text/html' } });
  if (!(await page.text()).includes('/assets/')) {
    throw new Error('the program has no console in it: build it with TRADEWIND_CONSOLE=required, or set CONSOLE_DEV=1');
  }
}

export function binary(): string {
  const path = process.env.TRADEWIND_BIN;
  if (!path) throw new Error('TRADEWIND_BIN is not set: let it be the path of the built program `tradewind`');
  return path;
}

export class TestNode extends Api {
  readonly folder = mkdtempSync(join(tmpdir(), 'tradewind-console-'));
  /** Where the console is. */
  url = '';
  #node: ChildProcess | undefined;
  readonly #preview = new Preview();
  #port = 0;

  /** `config` is added to its configuration; relative paths in it are below its folder. */
  constructor(readonly config = '') {
    super();
  }

  async start(): Promise<void> {
    this.#port ||= await freePort();
    this.api = `http://127.0.0.1:${this.#port}`;
    const config = join(this.folder, 'tradewind.toml');
    writeFileSync(config, '[process.retry]\nattempts_max = 2\nretry_ms_min = 10\n' + this.config);
    const args = ['up', '--config', config, '--data', join(this.folder, 'data'), '--listen', `127.0.0.1:${this.#port}`];
    this.#node = spawn(binary(), args, { stdio: 'ignore', cwd: this.folder });
    await until('a node that serves', async () => (await fetch(`${this.api}/readyz`)).ok);
    this.url = process.env.CONSOLE_DEV ? await this.#preview.start(this.api) : this.api;
    await servesConsole(this.url);
  }

  /** Ends the node; the console stays where it is served beside it. */
  async halt(): Promise<void> {
    if (this.#node) await ended(this.#node);
  }

  /** Ends what serves the console, too: nothing answers any more, but it can be started again on the same address. */
  async vanish(): Promise<void> {
    await this.halt();
    await this.#preview.stop();
  }

  async stop(): Promise<void> {
    await this.vanish();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const HOSTILE = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>\u202egnp.exe';

/** A shop: orders with histories, a captured-like stream of columns, hostile texts, exact numbers, and two projections. */
async function fill(node: TestNode): Promise<void> {
  await node.sql('CREATE STREAM shop.orders (id bigint NOT NULL, state text NOT NULL, total numeric(12,2)) WITH (partitions = 2)');
  await node.sql('CREATE STREAM notes');
  await node.sql('CREATE PROJECTION by_state AS SELECT state, count(*) AS orders, sum(total) AS total FROM shop.orders GROUP BY state');
  await node.sql('CREATE PROJECTION subjects AS SELECT count(DISTINCT _subject) AS subjects FROM notes');
  const states = ['placed', 'paid', 'shipped'];
  const orders = Array.from({ length: 240 }, (_, n) => {
    const [id, state] = [n % 80, states[Math.floor(n / 80)] ?? 'placed'];
    return { type: `order.${state}`, subject: `order-${id}`, data: { id, state, total: `${id}.50` } };
  });
  await node.append('shop.orders', orders);
  await node.append('notes', [
    { type: 'note.taken', subject: 'digits', data: '{"big": 12345678901234567890, "exact": 1.10, "tiny": 1e-30}' },
    { type: HOSTILE, subject: HOSTILE, data: { text: HOSTILE, [HOSTILE]: 1 } },
    { type: 'note.long', subject: 'long', data: { text: 'x'.repeat(900_000) } },
    { type: 'note.changed', subject: 'diff', data: { a: 1, b: { c: 'old' } } },
    { type: 'note.changed', subject: 'diff', data: { a: 1, b: { c: 'new' }, d: true } },
  ]);
}

type Fixtures = { complaints: string[]; at: (path: string) => Promise<void> };

export const test = base.extend<Fixtures, { node: TestNode; own: string }>({
  // Tests that set it to something have a node on which no others were.
  own: ['', { scope: 'worker', option: true }],
  node: [
    async ({}, use) => {
      const node = new TestNode();
      try {
        await node.start();
        await fill(node);
        await use(node);
      } finally {
        await node.stop();
      }
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${message.type()}: ${message.text()} (${message.location().url})`);
      });
      await use(complaints);
      expect(complaints, 'what the browser complains about').toEqual([]);
    },
    { auto: true },
  ],
  at: async ({ page, node }, use) => {
    await use(async (path) => {
      await page.goto(node.url + path);
    });
  },
});

export { expect, freePort, until };
