// A real node for each worker, on a free port and a folder of its own, with a small shop in it; and a page that fails its test
// when the browser complains.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as base, expect } from '@playwright/test';

const WEB = join(import.meta.dirname, '..', '..');
const READY_MS = 60_000;

export type Sent = { id?: string; type: string; subject?: string; data: unknown };

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}

export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + READY_MS;
  while (Date.now() < end) {
    if (await holds().catch(() => false)) return;
    await new Promise((later) => setTimeout(later, 100));
  }
  throw new Error(`${what} did not come about within ${READY_MS} ms`);
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const end = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  return end;
}

export class TestNode {
  readonly folder = mkdtempSync(join(tmpdir(), 'tradewind-console-'));
  /** Where the console is. */
  url = '';
  /** Where the node is; the same, unless the console is served beside it (CONSOLE_DEV=1). */
  api = '';
  #node: ChildProcess | undefined;
  #preview: ChildProcess | undefined;
  #port = 0;
  #previewPort = 0;
  #sent = 0;

  /** `config` is added to its configuration; relative paths in it are below its folder. */
  constructor(readonly config = '') {}

  async start(): Promise<void> {
    const binary = process.env.TRADEWIND_BIN;
    if (!binary) throw new Error('TRADEWIND_BIN is not set: let it be the path of the built program `tradewind`');
    this.#port ||= await freePort();
    this.api = `http://127.0.0.1:${this.#port}`;
    const config = join(this.folder, 'tradewind.toml');
    writeFileSync(config, '[process.retry]\nattempts_max = 2\nretry_ms_min = 10\n' + this.config);
    const args = ['up', '--config', config, '--data', join(this.folder, 'data'), '--listen', `127.0.0.1:${this.#port}`];
    this.#node = spawn(binary, args, { stdio: 'ignore', cwd: this.folder });
    await until('a node that serves', async () => (await fetch(`${this.api}/readyz`)).ok);
    if (process.env.CONSOLE_DEV && !this.#preview) await this.#serve();
    this.url ||= this.api;
    const page = await fetch(this.url, { headers: { accept: 'text/html' } });
    if (!(await page.text()).includes('/assets/')) {
      throw new Error('the program has no console in it: build it with TRADEWIND_CONSOLE=required, or set CONSOLE_DEV=1');
    }
  }

  async #serve(): Promise<void> {
    this.#previewPort ||= await freePort();
    const port = this.#previewPort;
    const vite = join(WEB, 'node_modules', 'vite', 'bin', 'vite.js');
    const args = [vite, 'preview', '--host', '127.0.0.1', '--port', String(port), '--strictPort'];
    this.#preview = spawn(process.execPath, args, { cwd: WEB, env: { ...process.env, TRADEWIND_URL: this.api }, stdio: 'ignore' });
    this.url = `http://127.0.0.1:${port}`;
    await until('a preview that serves', async () => (await fetch(this.url)).ok);
  }

  /** Ends the node; the console stays where it is served beside it. */
  async halt(): Promise<void> {
    if (this.#node) await ended(this.#node);
  }

  /** Ends what serves the console, too: nothing answers any more, but it can be started again on the same address. */
  async vanish(): Promise<void> {
    await this.halt();
    if (this.#preview) await ended(this.#preview);
    this.#preview = undefined;
  }

  async stop(): Promise<void> {
    await this.vanish();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async sql(statement: string): Promise<{ rows?: unknown[][]; message?: string }> {
    const answer = await fetch(`${this.api}/v1/sql`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: statement });
    if (!answer.ok) throw new Error(`${statement}: ${await answer.text()}`);
    return (await answer.json()) as { rows?: unknown[][]; message?: string };
  }

  /** Appends events; data that is a text is taken for JSON as it is. */
  async append(stream: string, events: Sent[]): Promise<void> {
    const lines = events.map((event) => {
      const { data, ...rest } = event;
      const head = JSON.stringify({ specversion: '1.0', source: '/tests', id: `e-${this.#sent++}`, ...rest });
      return `${head.slice(0, -1)},"data":${typeof data === 'string' ? data : JSON.stringify(data)}}\n`;
    });
    const path = `${this.api}/v1/streams/${encodeURIComponent(stream)}/events`;
    const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: lines.join('') });
    if (!answer.ok) throw new Error(await answer.text());
  }

  async parked(count: number, view: string): Promise<void> {
    await until(`${count} parked events of ${view}`, async () => {
      const answer = await fetch(`${this.api}/v1/parked?view=${view}`);
      return ((await answer.json()) as { parked: unknown[] }).parked.length === count;
    });
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

export { expect };
