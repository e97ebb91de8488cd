// JSON as it is: numbers keep their digits, whatever a double makes of them; and texts short enough to be shown.

/** A number whose digits a double would change, kept as it was written. */
type RawJson = { rawJSON: string };
type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown;
const json = JSON as unknown as {
  parse(text: string, reviver: Reviver): unknown;
  rawJSON?: (text: string) => RawJson;
  isRawJSON?: (value: unknown) => value is RawJson;
};

/** Parses JSON without changing a number. Browsers that cannot do that round as they always do. */
export function parse(text: string): unknown {
  const raw = json.rawJSON;
  if (!raw) return JSON.parse(text);
  return json.parse(text, (_key, value, context) => {
    const source = context?.source;
    return typeof value === 'number' && source !== undefined && String(value) !== source ? raw(source) : value;
  });
}

/** Whether a value is a number kept as text. */
function isRaw(value: unknown): value is RawJson {
  return json.isRawJSON?.(value) ?? false;
}

/** Whether a value has members. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRaw(value);
}

/** A scalar, or a whole value, as JSON on one line; texts without quotes. */
export function plain(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined ? '' : (JSON.stringify(value) ?? '');
}

/** A value on one line, of about `max` characters at most: what is cut is not even looked at. */
export function brief(value: unknown, max = 240): string {
  let out = '';
  const write = (it: unknown): void => {
    if (out.length > max) return;
    if (Array.isArray(it)) {
      out += '[';
      each(it.length, (n) => write(it[n]));
      out += ']';
    } else if (isObject(it)) {
      const keys = Object.keys(it);
      out += '{';
      each(keys.length, (n) => {
        const key = keys[n] as string;
        out += `${key.slice(0, max)}: `;
        write(it[key]);
      });
      out += '}';
    } else if (typeof it === 'string') {
      out += JSON.stringify(it.length > max ? it.slice(0, max) : it);
    } else {
      out += JSON.stringify(it) ?? 'null';
    }
  };
  const each = (count: number, one: (n: number) => void): void => {
    for (let n = 0; n < count && out.length <= max; n++) {
      if (n > 0) out += ', ';
      one(n);
    }
  };
  write(value);
  return out.length > max ? `${out.slice(0, max)}…` : out;
}

/** One difference between two values: where it is, and what it was and is. */
export type Difference = { path: string; before?: string; after?: string };

/** What is different between two values, member by member, at most `max` of it. */
export function differences(before: unknown, after: unknown, max = 200): Difference[] {
  const found: Difference[] = [];
  const walk = (path: string, old: unknown, now: unknown): void => {
    if (found.length >= max) return;
    const lists = Array.isArray(old) && Array.isArray(now);
    if (lists || (isObject(old) && isObject(now))) {
      const [a, b] = [old as Record<string, unknown>, now as Record<string, unknown>];
      for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
        walk(lists ? `${path}[${key}]` : path ? `${path}.${key}` : key, a[key], b[key]);
      }
      return;
    }
    const [was, is] = [old === undefined ? undefined : brief(old), now === undefined ? undefined : brief(now)];
    if (JSON.stringify(old) === JSON.stringify(now)) return;
    found.push({ path: path || '(value)', ...(was === undefined ? {} : { before: was }), ...(is === undefined ? {} : { after: is }) });
  };
  walk('', before, after);
  return found;
}

// Characters that draw nothing, or change the direction of what follows, and so can make a text look like another one.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** A text of others with its invisible characters made visible, so that it cannot look like something that it is not. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
