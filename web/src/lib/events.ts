// Reading events: pages from a place on, or backwards from the newest or from before a place.
import { getExact, query, seg } from './api';
import { plain } from './json';
import { field } from './share';
import type { CloudEvent, Page } from './types';

export type Wanted = {
  /** `newest`, or what the parameter `from` takes. */
  from: string;
  /** Whether it is read backwards, the newest first. */
  back: boolean;
  partition: string;
  subject: string;
  type: string;
  /** `name=value` of an attribute. */
  attribute: string;
  /** A path of JSONPath that finds something in the data, or a path, `=` and what it finds. */
  json: string;
  text: string;
};
/** The newest of a stream, all of them. */
export const NEWEST: Wanted = { from: 'newest', back: true, partition: '', subject: '', type: '', attribute: '', json: '', text: '' };

export const PAGE_EVENTS = 100;
/** A page that is read backwards ends after some megabytes: for what is rare so many of them are put together. */
const PARTS_MAX = 8;

export function eventsPath(stream: string, wanted: Wanted, more: Record<string, string | number> = {}): string {
  const { from, back, partition, subject, type, attribute, json, text } = wanted;
  return `/v1/streams/${seg(stream)}/events${query({ from: from === 'newest' ? '' : from, order: back ? 'desc' : '', partition, subject, type, attribute, json, text, ...more })}`;
}

export type Read = { events: CloudEvent[]; next?: string; end: boolean };

/** Reads one page. */
export async function read(name: string, wanted: Wanted, signal: AbortSignal): Promise<Read> {
  const first = await getExact<Page>(eventsPath(name, wanted, { limit: PAGE_EVENTS }), signal);
  if (!wanted.back) return first;
  const got: Read = first;
  for (let parts = 1; parts < PARTS_MAX && !got.end && got.events.length < PAGE_EVENTS; parts++) {
    const page = await getExact<Page>(eventsPath(name, { ...wanted, from: got.next ?? '' }, { limit: PAGE_EVENTS - got.events.length }), signal);
    got.events = [...got.events, ...page.events];
    [got.next, got.end] = [page.next, page.end];
  }
  return got;
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
