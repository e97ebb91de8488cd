// What a view is on the command line, and as a request: texts to copy.

/** A word of a shell command. */
export function quote(text: string): string {
  if (text.includes("'") && !/["$`\\!]/.test(text)) return `"${text}"`;
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command of `tradewind` for this node. */
export function cli(words: string[]): string {
  const here = location.origin;
  const url = here === 'http://127.0.0.1:7070' || here === 'http://localhost:7070' ? [] : ['--url', here];
  return ['tradewind', ...words, ...url].map(quote).join(' ');
}

/** A request of curl for this node. */
export function curl(path: string, options: string[] = []): string {
  return ['curl', '-sS', location.origin + path, ...options].map(quote).join(' ');
}

/** One field of CSV (RFC 4180). Spreadsheets take a text that begins so for a formula, so it gets an apostrophe before it. */
export function field(text: string): string {
  const safe = /^[=+@\t\r]|^-(?![\d.]+$)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Offers a text as a file. */
export function download(name: string, type: string, content: BlobPart): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name.replace(/[^\w.-]+/g, '_');
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
