// The text format of Prometheus, as far as it is needed.

export type Sample = { name: string; labels: Record<string, string>; value: number };

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED: Record<string, string> = { n: '\n', '\\': '\\', '"': '"' };

/** Reads the text format of Prometheus, as far as `wanted` names it. */
export function readMetrics(text: string, wanted: ReadonlySet<string>): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    const match = LINE.exec(line);
    if (!match?.[1] || !wanted.has(match[1])) continue;
    // What the node does not know at the moment is NaN.
    if (!Number.isFinite(Number(match[3]))) continue;
    const labels: Record<string, string> = {};
    for (const [, key, value] of (match[2] ?? '').matchAll(LABEL)) {
      if (key) labels[key] = (value ?? '').replace(/\\(.)/g, (_, it: string) => ESCAPED[it] ?? it);
    }
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}
