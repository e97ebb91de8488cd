// A page as somebody sees it: without a finding that keeps somebody out, and as a picture.
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect } from './node';

export const PICTURES = join(process.env.TRADEWIND_CONSOLE_OUT ?? join(tmpdir(), 'tradewind-console'), 'pictures');

/** Looks at what is open. */
export async function look(page: Page, picture: string): Promise<void> {
  const found = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']).analyze();
  const grave = found.violations.filter((it) => it.impact === 'serious' || it.impact === 'critical');
  expect(grave.map((it) => `${it.id}: ${it.nodes.map((node) => node.html.slice(0, 200)).join(' | ')}`)).toEqual([]);
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `${picture}.png`) });
}

/** The same in both themes. */
export async function lookTwice(page: Page, picture: string): Promise<void> {
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme });
    await look(page, `${picture}-${colorScheme}`);
  }
}
