// Statements: run, cancelled, exported. An answer that is too large to be shown is cut here, and can be exported whole.
import { send, upTo } from './api';
import { parse } from './json';

export type Result = {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  /** What a statement without rows did. */
  message?: string;
  /** Why rows are missing. */
  problem?: { detail?: string } | undefined;
  /** Only the first rows are here, because all of them would be too many bytes. */
  cut?: boolean;
};

const TEXT_MAX = 16_000_000;

function post(sql: string, accept: string, signal?: AbortSignal): Promise<Response> {
  return send('POST', '/v1/sql', { headers: { accept, 'content-type': 'text/plain; charset=utf-8' }, body: sql, signal });
}

/** Runs a statement; aborting it ends it in the node, too. */
export async function run(sql: string, signal?: AbortSignal): Promise<Result> {
  const { text, whole } = await upTo(await post(sql, 'application/json', signal), TEXT_MAX);
  if (whole) return { columns: [], rows: [], ...(parse(text) as Partial<Result>) };
  // Up to the last row that is whole: rows are arrays of an array, and no value holds a line feed between brackets unescaped.
  for (let end = text.lastIndexOf('],['); end > 0; end = text.lastIndexOf('],[', end - 1)) {
    try {
      return { ...(parse(`${text.slice(0, end)}]]}`) as Result), cut: true };
    } catch {
      // That was within a value.
    }
  }
  throw new Error('the answer is too large to be shown: export it as CSV');
}

/** All rows, as CSV. */
export async function csv(sql: string, signal?: AbortSignal): Promise<Blob> {
  return (await post(sql, 'text/csv', signal)).blob();
}

/** Whether a statement only reads, so that opening a link may run it. */
export function reads(sql: string): boolean {
  return /^\s*(SELECT|SHOW|DESCRIBE|EXPLAIN)\b/i.test(sql);
}

const HISTORY_MAX = 50;
const KEY = 'sql-history';

export function history(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(kept) ? kept.filter((it) => typeof it === 'string') : [];
  } catch {
    return [];
  }
}

/** Keeps a statement, unless it may hold a password. */
export function remember(sql: string): string[] {
  const kept = history();
  if (/:\/\/[^\s/'"]*:[^\s/'"]*@|password/i.test(sql) || sql.length > 20_000) return kept;
  const next = [sql, ...kept.filter((it) => it !== sql)].slice(0, HISTORY_MAX);
  localStorage.setItem(KEY, JSON.stringify(next));
  return next;
}

export function forget(): void {
  localStorage.removeItem(KEY);
}
