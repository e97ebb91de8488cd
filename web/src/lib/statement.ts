// A statement as somebody types it: its words, coloured by what they are, and what could come next. Nothing here decides what is
// valid: that is the node's business.

export type Kind = '' | 'word' | 'keyword' | 'function' | 'text' | 'number' | 'comment' | 'quoted';
export type Token = { text: string; kind: Kind; at: number };

/** A table that can be asked, and its columns if they were asked for already. */
export type Table = { name: string; kind: string; columns?: { name: string; type: string }[] };
export type Suggestion = { text: string; insert: string; kind: string };

export const KEYWORDS = new Set(
  ('ADD ALL ALTER AND AS ASC BETWEEN BY CASE CAST CLASS COLUMN CREATE CROSS DELETE DESC DESCRIBE DISTINCT DROP ELSE END EXCEPT EXISTS EXPLAIN FALSE FILTER FIRST FROM FULL ' +
    'GROUP HAVING HOLD IF ILIKE IN INNER INTERSECT INTERVAL IS JOIN LAST LATERAL LEFT LIKE LIMIT MERGE NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION PAUSE POSTGRES PROJECTION ' +
    'PROJECTIONS REBUILD RELEASE REPLACE RESUME RIGHT ROWS SELECT SET SHOW SOURCE SOURCES STREAM STREAMS TABLES THEN TO TRUE UNION USING VALUES WHEN WHERE WITH').split(' '),
);
export const TYPES = 'bigint boolean bytea date integer interval json numeric real smallint text time timestamp timestamptz uuid'.split(' ');
/** Those that `docs/sql.md` names, and the everyday ones of texts, numbers and times. */
export const FUNCTIONS = (
  'abs array_agg avg bool_and bool_or btrim ceil char_length coalesce concat concat_ws count current_date current_timestamp date_bin date_part date_trunc decode div encode ' +
  'every exp extract first floor greatest initcap json_array_length json_typeof last least left length ln log lower lpad ltrim max md5 min mod now nullif octet_length ' +
  'position power random regexp_count regexp_like regexp_replace repeat replace reverse right round rpad rtrim sha256 sign split_part sqrt starts_with strpos substr sum ' +
  'to_hex to_timestamp translate trim trunc upper'
).split(' ');

const TOKEN = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|([\p{L}_$][\p{L}\p{N}_$]*)/gu;
/** Longer ones are not coloured: nobody types them. */
const COLOURED_MAX = 20_000;

/** Takes a statement apart; what the pieces say, one after the other, is the statement. */
export function tokens(sql: string): Token[] {
  if (sql.length > COLOURED_MAX) return [{ text: sql, kind: '', at: 0 }];
  const found: Token[] = [];
  let last = 0;
  for (const match of sql.matchAll(TOKEN)) {
    if (match.index > last) found.push({ text: sql.slice(last, match.index), kind: '', at: last });
    last = match.index + match[0].length;
    const [text, comment, quote, name, number] = match;
    const kind = comment !== undefined ? 'comment' : quote !== undefined ? 'text' : name !== undefined ? 'quoted' : number !== undefined ? 'number' : wordKind(text, sql, last);
    found.push({ text, kind, at: match.index });
  }
  if (last < sql.length) found.push({ text: sql.slice(last), kind: '', at: last });
  return found;
}

function wordKind(word: string, sql: string, end: number): Kind {
  // LEFT and REPLACE are words of the language, and functions where a parenthesis follows.
  if (sql[end] === '(' && (FUNCTIONS.includes(word.toLowerCase()) || !KEYWORDS.has(word.toUpperCase()))) return 'function';
  return KEYWORDS.has(word.toUpperCase()) ? 'keyword' : 'word';
}

/** Whether a place is within a text, a comment or a quoted name, where nothing is completed. */
function isInside(sql: string, at: number): boolean {
  return tokens(sql).some((it) => {
    if (it.at >= at || it.at + it.text.length < at) return false;
    const end = it.at + it.text.length;
    if (it.kind === 'comment') return at < end || it.text.startsWith('--') || !it.text.endsWith('*/');
    if (it.kind !== 'text' && it.kind !== 'quoted') return false;
    return at < end || it.text.length < 2 || !it.text.endsWith(it.text[0] ?? '');
  });
}

/** Names of tables that a statement mentions, with their aliases: `shop.orders` and `o`. */
export function mentioned(sql: string, tables: Table[]): Map<string, Table> {
  const known = new Map(tables.map((it) => [it.name.toLowerCase(), it]));
  const found = new Map<string, Table>();
  const plain = tokens(sql).map((it) => (it.kind === 'text' || it.kind === 'comment' ? ' ' : it.text)).join('');
  const NAME = /((?:[\p{L}_$][\p{L}\p{N}_$]*|"(?:[^"]|"")+")(?:\.(?:[\p{L}_$][\p{L}\p{N}_$]*|"(?:[^"]|"")+"))*)(?:\s+(?:as\s+)?([\p{L}_][\p{L}\p{N}_]*))?/giu;
  // Names stand in a row: what was taken for an alias may be the next name.
  for (let match = NAME.exec(plain); match; match = NAME.exec(plain)) {
    const [whole, name = '', alias] = match;
    const bare = name.replaceAll('"', '').toLowerCase();
    const table = known.get(bare) ?? known.get(bare.replace(/^events\./, ''));
    if (!table) {
      NAME.lastIndex = match.index + Math.max(name.length, 1);
      continue;
    }
    found.set(bare, table);
    found.set(table.name.toLowerCase(), table);
    if (alias && !KEYWORDS.has(alias.toUpperCase())) found.set(alias.toLowerCase(), table);
    else if (alias) NAME.lastIndex = match.index + whole.length - alias.length;
  }
  return found;
}

/** A name as it is written in a statement. */
export function written(name: string): string {
  return name
    .split('.')
    .map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) && !KEYWORDS.has(part.toUpperCase()) ? part : `"${part.replaceAll('"', '""')}"`))
    .join('.');
}

export type Completion = { from: number; to: number; items: Suggestion[] };
const SHOWN_MAX = 12;

/** What could stand at a place; nothing where nothing would help. `asked` also shows what may begin there. */
export function complete(sql: string, at: number, tables: Table[], asked = false): Completion | undefined {
  const word = /(?:[\p{L}_$"][\p{L}\p{N}_$".]*)?$/u.exec(sql.slice(0, at))?.[0] ?? '';
  if ((word.length < 2 && !word.includes('.') && !asked) || isInside(sql, at) || /[\p{L}\p{N}_$]/u.test(sql[at] ?? '')) return undefined;
  const here = mentioned(sql, tables);
  const dot = word.lastIndexOf('.');
  const of = dot > 0 ? here.get(word.slice(0, dot).replaceAll('"', '').toLowerCase()) : undefined;
  const found: Suggestion[] = [];
  const columns = (list: Iterable<Table>): void => {
    for (const table of new Set(list)) for (const it of table.columns ?? []) found.push({ text: it.name, insert: written(it.name), kind: it.type });
  };
  if (of) {
    columns([of]);
    return chosen(found, word.slice(dot + 1), at - (word.length - dot - 1), at);
  }
  const before = sql.slice(0, at - word.length);
  const wantsTable = /\b(?:from|join|describe|explain|projection|stream|rebuild)\s+$/i.test(before);
  const named = tables.map((it) => ({ text: it.name, insert: written(it.name), kind: it.kind }));
  if (wantsTable) found.push(...named);
  else {
    columns(here.values());
    found.push(...named);
    found.push(...FUNCTIONS.map((text) => ({ text, insert: `${text}(`, kind: 'function' })));
  }
  const upper = word !== '' && word === word.toUpperCase();
  found.push(...[...KEYWORDS].map((text) => ({ text, insert: upper || asked ? text : text.toLowerCase(), kind: 'keyword' })));
  if (!wantsTable) found.push(...TYPES.map((text) => ({ text, insert: text, kind: 'type' })));
  return chosen(found, word, at - word.length, at);
}

function chosen(all: Suggestion[], typed: string, from: number, to: number): Completion | undefined {
  const wanted = typed.replaceAll('"', '').toLowerCase();
  const seen = new Set<string>();
  const fits = (it: Suggestion): boolean => it.text.toLowerCase().startsWith(wanted) || (wanted.length > 0 && it.text.toLowerCase().includes(`.${wanted}`));
  const items = all.filter((it) => fits(it) && !seen.has(it.insert) && seen.add(it.insert)).slice(0, SHOWN_MAX);
  // What is there already needs no help.
  if (items.length === 0 || items[0]?.insert === typed || (items.length === 1 && items[0]?.text.toLowerCase() === wanted)) return undefined;
  return { from, to, items };
}
