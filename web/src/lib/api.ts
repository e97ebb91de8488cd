// Calls of the interface `/v1`. Every refusal is a `Problem` with its stable code; a node that cannot be reached is `Gone`.
import { parse } from './json';

/** What the node refuses, and why (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Where the documentation explains it. */
    readonly link: string | undefined,
  ) {
    super(message);
  }
}

/** The node does not answer. */
export class Gone extends Error {
  constructor() {
    super('the node does not answer');
  }
}

export type Request = {
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
};

/** A name or a value as a segment of a path. */
export function seg(text: string | number): string {
  return encodeURIComponent(text);
}

/** A query, without what is empty. */
export function query(params: Record<string, string | number | undefined | null>): string {
  const parts = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return parts.length === 0 ? '' : `?${new URLSearchParams(parts.map(([key, value]) => [key, String(value)])).toString()}`;
}

/** Sends a request; the answer is a success. */
export async function send(method: string, path: string, request: Request = {}): Promise<Response> {
  let response: Response;
  try {
    const { body, headers, signal } = request;
    response = await fetch(path, { method, headers: headers ?? {}, body: body ?? null, signal: signal ?? null, cache: 'no-store' });
  } catch (error) {
    throw request.signal?.aborted ? error : new Gone();
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response: Response): Promise<Problem | Gone> {
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as { code?: string; detail?: string; title?: string; type?: string };
    return new Problem(response.status, body.code ?? 'unknown', body.detail ?? body.title ?? text, body.type);
  } catch {
    // Something between the browser and the node has answered in its place.
    if (response.status >= 502) return new Gone();
    return new Problem(response.status, 'unknown', `the answer was ${response.status} ${text.slice(0, 300)}`, undefined);
  }
}

function ask(path: string, signal?: AbortSignal): Promise<Response> {
  return send('GET', path, { headers: { accept: 'application/json' }, signal });
}

/** Reads what the node says of itself: numbers that it counts, which are exact as they are. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, signal)).json()) as T;
}

/** Reads what others wrote, with all digits of their numbers. That takes longer. */
export async function getExact<T>(path: string, signal?: AbortSignal): Promise<T> {
  return parse(await (await ask(path, signal)).text()) as T;
}

/** Changes something; the answer may be empty. */
export async function change<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  const json: Request = body === undefined ? {} : { body: JSON.stringify(body) };
  const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  const response = await send(method, path, { ...json, headers: { ...type, ...headers } });
  const text = await response.text();
  return (text ? parse(text) : undefined) as T;
}

/** Reads a text of at most `max` characters; more of it is left and told. */
export async function upTo(response: Response, max: number): Promise<{ text: string; whole: boolean }> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const piece = await reader?.read();
    if (!piece || piece.done) return { text, whole: true };
    text += piece.value;
    if (text.length > max) {
      await reader?.cancel();
      return { text, whole: false };
    }
  }
}

/** A message for a person, of whatever was thrown. */
export function say(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
