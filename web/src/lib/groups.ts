// Consumer groups of Kafka: where one is made to read from, asked before it is done.
import { change, seg } from './api';
import { plural } from './format';
import type { Would } from './shell.svelte';

export type To = 'start' | 'end' | { offset: number } | { time: string } | { back: number };
export type Reset = { stream: string; partitions?: number[]; to: To };
/** What becomes of a partition; `clamped` if there is no event where it was to go, so that it is the start or the end instead. */
export type Moved = { partition: number; from: number | null; to: number; clamped?: boolean };

/** Has a group read on from elsewhere, or asks where that would be. */
export function reset(group: string, it: Reset, dry_run: boolean): Promise<{ partitions: Moved[] }> {
  return change('POST', `/v1/groups/${seg(group)}/reset`, { ...it, dry_run });
}

/** The same as arguments of `tradewind group`. */
export function words(group: string, it: Reset): string[] {
  const to =
    typeof it.to === 'string' ? it.to : 'offset' in it.to ? String(it.to.offset) : 'time' in it.to ? it.to.time : `-${it.to.back}`;
  return ['group', 'reset', group, '--stream', it.stream, `--to=${to}`, ...(it.partitions ?? []).flatMap((one) => ['--partition', String(one)])];
}

/** What a reset changes, for a person. */
export function would(moved: Moved[]): Would {
  let [again, skipped, begin] = [0, 0, 0];
  const rows = moved.map(({ partition, from, to, clamped }) => {
    if (from === null) begin += 1;
    else if (to < from) again += from - to;
    else skipped += to - from;
    return [String(partition), from === null ? 'nothing committed' : String(from), String(to), `${effect(from, to)}${clamped ? '; there is no event where it was to go' : ''}`];
  });
  const said = [
    again > 0 ? `${plural(again, 'event')} ${again === 1 ? 'is' : 'are'} read again` : '',
    skipped > 0 ? `${plural(skipped, 'event')} ${skipped === 1 ? 'is' : 'are'} skipped` : '',
    begin > 0 ? `${plural(begin, 'partition')} ${begin === 1 ? 'begins' : 'begin'} where nothing was committed` : '',
  ].filter(Boolean);
  return { note: said.length > 0 ? `${said.join(', ')}.` : 'Nothing changes: it reads on from there already.', heads: ['#Partition', '#From', '#To', 'Then'], rows };
}

function effect(from: number | null, to: number): string {
  if (from === null) return 'begins there';
  if (from === to) return 'stays';
  return to < from ? `${plural(from - to, 'event')} read again` : `${plural(to - from, 'event')} skipped`;
}

/** Partitions as somebody types them, `0, 3-5`: all of them if nothing is typed, and `undefined` for what is no such list. */
export function partitions(text: string, all: number[]): number[] | undefined {
  if (text.trim() === '') return all;
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const [, first, last] = /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/.exec(part) ?? [];
    if (first === undefined) return undefined;
    const span = all.filter((it) => it >= Number(first) && it <= Number(last ?? first));
    if (span.length === 0) return undefined;
    for (const it of span) found.add(it);
  }
  return [...found].sort((a, b) => a - b);
}
