// Reading events: pages from a place on, and the newest of a stream, which the interface reads forwards only.
import { get, getExact, query, seg } from './api';
import { accepted } from './format';
import { plain } from './json';
import { field } from './share';
import type { CloudEvent, Extent, Page, Stream } from './types';

export type Wanted = {
  /** `newest`, or what the parameter `from` takes. */
  from: string;
  partition: string;
  subject: string;
  type: string;
};

export const PAGE_EVENTS = 100;
/** With a filter, the newest are looked for among so many of each partition. */
const WINDOW_EVENTS = 2_000;
/** So many partitions are asked for their newest events. */
const PARTITIONS_MAX = 64;

export function eventsPath(stream: string, wanted: Wanted, more: Record<string, string | number> = {}): string {
  const { from, partition, subject, type } = wanted;
  return `/v1/streams/${seg(stream)}/events${query({ from: from === 'newest' ? '' : from, partition, subject, type, ...more })}`;
}

export type Read = { events: CloudEvent[]; next?: string; end: boolean; note?: string };

/** Reads one page. */
export async function read(name: string, wanted: Wanted, signal: AbortSignal): Promise<Read> {
  if (wanted.from === 'newest') return newest(name, wanted, signal);
  return getExact<Page>(eventsPath(name, wanted, { limit: PAGE_EVENTS }), signal);
}

async function newest(name: string, wanted: Wanted, signal: AbortSignal): Promise<Read> {
  const stream = await get<Stream>(`/v1/streams/${seg(name)}`, signal);
  const all = (stream.offsets ?? []).filter((it) => wanted.partition === '' || String(it.partition) === wanted.partition);
  const some = all.slice(0, PARTITIONS_MAX);
  const filtered = wanted.subject !== '' || wanted.type !== '';
  const back = filtered ? WINDOW_EVENTS : PAGE_EVENTS;
  const one = async (extent: Extent): Promise<CloudEvent[]> => {
    if (extent.end <= extent.start) return [];
    const from = String(Math.max(extent.start, extent.end - back));
    const path = eventsPath(name, { ...wanted, from, partition: String(extent.partition) }, { limit: back });
    return (await getExact<Page>(path, signal)).events;
  };
  const found = (await Promise.all(some.map(one))).flat();
  found.sort((a, b) => accepted(b.twhlc) - accepted(a.twhlc) || compareHlc(b.twhlc, a.twhlc));
  const older = some.some((it) => it.end - back > it.start);
  const notes = [
    filtered && older ? `looked for among the newest ${WINDOW_EVENTS.toLocaleString('en')} events of each partition: start at a time to look further back` : '',
    all.length > some.length ? `of the first ${PARTITIONS_MAX} partitions` : '',
  ].filter(Boolean);
  return { events: found.slice(0, PAGE_EVENTS), end: true, ...(notes.length > 0 ? { note: notes.join('; ') } : {}) };
}

/** Compares what stands behind the point of two timestamps of the hybrid logical clock. */
function compareHlc(a: string | undefined, b: string | undefined): number {
  return Number((a ?? '').split('.')[1] ?? 0) - Number((b ?? '').split('.')[1] ?? 0);
}

/** What identifies an event in its stream. */
export function place(event: CloudEvent): string {
  return event.twposition ?? event.id;
}

/** The data of an event, decoded: JSON as it is, bytes as their base64. */
export function data(event: CloudEvent): unknown {
  return event.data_base64 !== undefined ? { base64: event.data_base64 } : event.data;
}

/** Attributes without the data. */
export function attributes(event: CloudEvent): [string, string][] {
  return Object.entries(event)
    .filter(([key]) => key !== 'data' && key !== 'data_base64')
    .map(([key, value]) => [key, plain(value)]);
}

/** Events as lines of JSON, all digits kept. */
export function toNdjson(events: CloudEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join('');
}

/** Events as CSV: the common attributes, and the data as JSON. */
export function toCsv(events: CloudEvent[]): string {
  const keys = ['twposition', 'twversion', 'twhlc', 'id', 'source', 'type', 'subject', 'time'];
  const rows = events.map((event) => [...keys.map((key) => plain(event[key])), JSON.stringify(data(event)) ?? '']);
  return [[...keys, 'data'], ...rows].map((row) => `${row.map(field).join(',')}\n`).join('');
}
