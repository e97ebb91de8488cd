// Over which time charts go: in the address, and kept for the next page.
import { route } from './route.svelte';

export const RANGES = [
  { key: '15m', title: '15 min', ms: 900_000 },
  { key: '1h', title: '1 h', ms: 3_600_000 },
  { key: '6h', title: '6 h', ms: 21_600_000 },
  { key: '24h', title: '24 h', ms: 86_400_000 },
] as const;

const KEY = 'range';
const OTHERWISE = RANGES[1];

/** The range that holds here: what the address says, otherwise what was chosen last. */
export function range(): (typeof RANGES)[number] {
  const wanted = route.param(KEY) || localStorage.getItem(KEY);
  return RANGES.find((it) => it.key === wanted) ?? OTHERWISE;
}

export function choose(key: string): void {
  localStorage.setItem(KEY, key);
  route.set({ [KEY]: key });
}
