// What the platform has done: the events of its own streams, whose names begin with $, merged by the time of their acceptance, each as
// a sentence where its form is known.
import { get, getExact, query, seg } from './api';
import { NEWEST, place, read } from './events';
import { accepted, plural } from './format';
import { brief, isObject, visible } from './json';
import { field } from './share';
import type { CloudEvent, Page, Stream } from './types';

export type Entry = { stream: string; event: CloudEvent; at: number; text: string };
export type Span = { since: string; until: string };
export type Audit = { entries: Entry[]; streams: string[]; more: string[] };

/** What the platform notes for itself, many times in a second. */
const SILENT = /^\$(seen\.|cursors$|metrics$)/;
/** Of `$sources` the cursors move with every batch: only what somebody asks for is read. */
const TYPES: Record<string, string[]> = { $sources: ['source.gap', 'source.table'] };
/** From a time on, so many events of a stream are read. */
const EVENTS_MAX = 2_000;

/** Reads it: the newest of each stream, or what was accepted in a span of time. */
export async function readAudit(span: Span, signal: AbortSignal): Promise<Audit> {
  const { streams } = await get<{ streams: Stream[] }>('/v1/streams', signal);
  const names = streams.map((it) => it.name).filter((name) => name.startsWith('$') && !SILENT.test(name));
  const more: string[] = [];
  const one = async (stream: string, type: string): Promise<Entry[]> => {
    const events = span.since ? await from(stream, type, span.since, signal) : (await read(stream, { ...NEWEST, type }, signal)).events;
    if (events.length >= (span.since ? EVENTS_MAX : 100)) more.push(stream);
    return events.map((event) => ({ stream, event, at: accepted(event.twhlc), text: sentence(stream, event) }));
  };
  const read_ = names.flatMap((stream) => (TYPES[stream] ?? ['']).map((type) => one(stream, type)));
  const until = span.until ? Date.parse(span.until) : Infinity;
  const entries = (await Promise.all(read_)).flat().filter((it) => it.at <= until);
  entries.sort((a, b) => b.at - a.at || (a.stream < b.stream ? -1 : 1) || offset(b) - offset(a));
  return { entries, streams: names, more };
}

/** What was defined and changed last. */
export async function readLately(count: number, signal: AbortSignal): Promise<Entry[]> {
  const stream = '$config';
  const { events } = await getExact<Page>(`/v1/streams/${seg(stream)}/events${query({ order: 'desc', limit: count })}`, signal);
  return events.map((event) => ({ stream, event, at: accepted(event.twhlc), text: sentence(stream, event) }));
}

async function from(stream: string, type: string, since: string, signal: AbortSignal): Promise<CloudEvent[]> {
  const page = await getExact<Page>(`/v1/streams/${seg(stream)}/events${query({ from: since, type, limit: EVENTS_MAX })}`, signal);
  return page.events;
}

function offset(it: Entry): number {
  return Number(place(it.event).split(':')[1] ?? 0);
}

type Data = Record<string, unknown>;
const quoted = (value: unknown): string => `“${short(value)}”`;
const short = (value: unknown): string => visible(typeof value === 'string' ? (value.length > 160 ? `${value.slice(0, 160)}…` : value) : brief(value, 160));
const set = (value: unknown): string => (value === null || value === undefined ? 'nothing' : short(value));

function options(it: unknown): string {
  if (!isObject(it)) return '';
  const said = [typeof it.partitions === 'number' ? plural(it.partitions, 'partition') : '', isObject(it.options) && it.options.mode ? short(it.options.mode) : ''];
  return said.filter(Boolean).join(', ');
}

const FORMS: Record<string, (data: Data, event: CloudEvent) => string> = {
  'tradewind.stream.created': (it) => `The stream ${quoted(name(it))} was created${options(it.stream ?? it) ? `: ${options(it.stream ?? it)}` : ''}.`,
  'tradewind.stream.altered': (it) => `The stream ${quoted(name(it))} was changed.`,
  'tradewind.stream.dropped': (it) => `The stream ${quoted(name(it))} was removed.`,
  'tradewind.projection.created': (it) => `The projection ${quoted(it.name)} was created: ${short(it.query)}`,
  'tradewind.projection.altered': (it) => `The projection ${quoted(it.name)} was defined anew or is rebuilt, version ${short(it.version)}.`,
  'tradewind.projection.defined': (it) => `The projection ${quoted(it.name)} was defined: ${short(it.query)}`,
  'tradewind.projection.dropped': (it) => `The projection ${quoted(it.name)} was dropped.`,
  'tradewind.projection.paused': (it) => `The projection ${quoted(it.name)} was paused.`,
  'tradewind.projection.held': (it) => `The next version of the projection ${quoted(it.name)} waits for its release.`,
  'tradewind.projection.released': (it) => `The next version of the projection ${quoted(it.name)} may take over.`,
  'tradewind.projection.resumed': (it) => `The projection ${quoted(it.name)} was resumed.`,
  'tradewind.source.created': (it) => `The source ${quoted(it.name)} was created, with ${Array.isArray(it.tables) ? plural(it.tables.length, 'table') : 'tables'}.`,
  'tradewind.source.dropped': (it) => `The source ${quoted(it.name)} was dropped.`,
  'tradewind.source.paused': (it) => `The source ${quoted(it.name)} was paused.`,
  'tradewind.source.resumed': (it) => `The source ${quoted(it.name)} was resumed.`,
  'tradewind.config.changed': (it) =>
    `${short(it.author)} ${it.value === null ? `unset ${short(it.option)}` : `set ${short(it.option)} to ${short(it.value)}`}, before it was ${set(it.previous)}${it.restored ? `; back to version ${short(it.restored)}` : ''}.`,
  'tradewind.parked.parked': (it) => `${view(it)} could not process ${spot(it)}, and parked it: ${short(it.why)}`,
  'tradewind.parked.retried': (it) => `Somebody had ${view(it)} try ${spot(it)} again.`,
  'tradewind.parked.dropped': (it) => `Somebody had ${view(it)} leave ${spot(it)} out for good.`,
  'tradewind.parked.released': (it) =>
    it.stream === undefined ? `Everything parked of ${view(it)} ended, because the view was removed.` : `${spot(it)} is no longer parked in ${view(it)}: ${RELEASED[String(it.how)] ?? short(it.how)}.`,
  'tradewind.node.registered': (it) => `The node ${quoted(it.node)} joined, version ${short(it.version)}.`,
  'tradewind.node.left': (it) => `The node ${quoted(it.node)} left.`,
  'tradewind.home.moved': (it) => `Region ${short(it.from)} gave the stream ${quoted(it.stream)} to region ${short(it.home)}.`,
  'tradewind.home.taken': (it) => `Region ${short(it.home)} took the stream ${quoted(it.stream)} over from region ${short(it.from)}, which was gone.`,
  'tradewind.home.opened': (it) => `Region ${short(it.home)} takes the writes of ${quoted(it.stream)}.`,
  'tradewind.event.at_risk': (it) => `Region ${short(it.home)} decided without ${spot(it)}, accepted elsewhere as ${short(it.origin)}: it is at risk.`,
  'tradewind.home.tail': (it) => `Region ${short(it.region)} told all that is at risk of ${quoted(it.stream)}: ${plural(Number(it.events), 'event')}.`,
  'tradewind.conflict': (it) => {
    const side = (one: unknown): string => (isObject(one) ? `region ${short(one.region)}${one.value === undefined ? '' : ` with ${quoted(one.value)}`}` : '');
    return `${quoted(it.subject)} of ${short(it.stream)}${it.column ? `, ${short(it.column)}` : ''}: ${side(it.winner)} counts, and ${side(it.loser)} did not know of it (${short(it.kind)}).`;
  },
  'source.gap': (it) => `Changes of the source ${quoted(it.source)} are missing after ${short(it.knownUntil)}: ${short(it.reason)}`,
  'source.table': (it, event) => {
    const phase = isObject(it.phase) ? String(it.phase.is) : '';
    return `The snapshot of ${quoted(event.subject)} ${phase === 'done' ? 'is complete' : phase === 'running' ? 'goes on' : 'is to begin'}: ${plural(Number(it.rows), 'row')}.`;
  },
};
const RELEASED: Record<string, string> = { applied: 'it was processed', cleared: 'a later event made it irrelevant', rebuilt: 'the projection was built anew', removed: 'the projection was removed' };

/** A view is known to people by the name of its projection. */
function view(it: Data): string {
  return quoted(String(it.view).replace(/^projection\//, ''));
}

function name(it: Data): unknown {
  return isObject(it.stream) ? it.stream.name : it.name;
}

/** An event that others speak of. */
function spot(it: Data): string {
  const subject = it.event_subject ?? it.subject;
  return `the event ${short(it.stream)} ${short(it.partition)}${it.offset === undefined ? '' : `:${short(it.offset)}`}${subject ? ` of ${quoted(subject)}` : ''}`;
}

/** What an event says, in a sentence; its type and subject where its form is not known. */
export function sentence(stream: string, event: CloudEvent): string {
  const form = FORMS[event.type];
  const known = form && isObject(event.data) ? form(event.data, event) : `${visible(event.type)}${event.subject ? `: ${visible(event.subject)}` : ''}`;
  const said = stream === '$definitions' ? known.replace(/^The/, 'In every region, the') : known;
  return said.charAt(0).toUpperCase() + said.slice(1, 400);
}

/** The rows as CSV. */
export function auditCsv(entries: Entry[]): string {
  const rows = entries.map((it) => [new Date(it.at).toISOString(), it.stream, place(it.event), it.event.type, it.event.subject ?? '', it.text]);
  return [['accepted', 'stream', 'place', 'type', 'subject', 'what'], ...rows].map((row) => `${row.map(field).join(',')}\n`).join('');
}
