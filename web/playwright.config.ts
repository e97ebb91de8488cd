// The tests: small ones without a browser, and the console in a browser against a real node. What they leave is outside of the
// source tree: pictures of every page, and traces of what failed.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from '@playwright/test';

const out = process.env.TRADEWIND_CONSOLE_OUT ?? join(tmpdir(), 'tradewind-console');

const CLUSTER = ['browser/cluster.test.ts', 'browser/groups.test.ts'];

export default defineConfig({
  testDir: './tests',
  outputDir: join(out, 'results'),
  workers: 2,
  timeout: 60_000,
  expect: { timeout: 20_000 },
  forbidOnly: true,
  maxFailures: 20,
  reporter: [['line']],
  projects: [
    { name: 'unit', testMatch: 'unit/*.test.ts' },
    { name: 'browser', testMatch: 'browser/*.test.ts', testIgnore: CLUSTER },
    // One worker, so that there is one cluster: with its Kafka it takes some memory, and some seconds to start.
    { name: 'cluster', testMatch: CLUSTER, workers: 1 },
  ],
  use: {
    viewport: { width: 1280, height: 800 },
    trace: 'retain-on-failure',
    permissions: ['clipboard-read', 'clipboard-write'],
    launchOptions: {
      executablePath: process.env.TRADEWIND_TEST_CHROMIUM ?? '/usr/bin/chromium',
      // Its sandbox needs what containers and root do not have; it opens nothing but a node on loopback.
      args: ['--no-sandbox'],
    },
  },
});
