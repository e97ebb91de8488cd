// Numbers, sizes and times for people; exact values belong into a title.

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** 1,234 and 1.2M. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return Math.abs(value) < 100_000 ? whole.format(Math.round(value)) : short.format(value);
}

/** All digits. */
export function exact(value: number | null | undefined, unit = ''): string {
  return value === null || value === undefined ? '' : `${whole.format(value)}${unit ? ` ${unit}` : ''}`;
}

/** 0, 0.4, 12, 1,234 in a second. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return value > 0 && value < 10 ? `${value.toFixed(1)}/s` : `${count(value)}/s`;
}

/** 512 B, 12.3 kB, 4.0 GB: powers of 1,000. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let size = value;
  let unit = 0;
  while (size >= 1_000 && unit < units.length - 1) {
    size /= 1_000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** 12 ms, 3.4 s, 5 min, 2 h, 7 d. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** 2026-01-31 09:30:00.123, local. */
export function time(ms: number | string | Date): string {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return String(ms);
  const two = (value: number, digits = 2): string => String(value).padStart(digits, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${two(at.getMilliseconds(), 3)}`;
}

/** The same in UTC. */
export function utc(ms: number | string | Date): string {
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? String(ms) : at.toISOString();
}

/** When an event was accepted, in milliseconds: the part of `twhlc` before the point. */
export function accepted(hlc: string | undefined): number {
  return Number((hlc ?? '').split('.')[0]);
}

/** One thing, two things. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${whole.format(n)} ${n === 1 ? one : many}`;
}
