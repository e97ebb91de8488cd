// The text format of Prometheus, as far as it is needed.

export type Sample = { name: string; labels: Record<string, string>; value: number };

const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED: Record<string, string> = { n: '\n', '\\': '\\', '"': '"' };

/** Reads a text, as far as `wanted` names what is in it. A node with many streams says a lot: what is not wanted costs next to nothing. */
export function readMetrics(text: string, wanted: ReadonlySet<string>): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const space = line.lastIndexOf(' ');
    const brace = line.indexOf('{');
    const name = line.slice(0, brace < 0 ? space : brace);
    if (space < 0 || !wanted.has(name)) continue;
    const value = Number(line.slice(space + 1));
    // What the node does not know at the moment is NaN.
    if (!Number.isFinite(value)) continue;
    samples.push({ name, labels: brace < 0 ? {} : readLabels(line.slice(brace + 1, line.lastIndexOf('}'))), value });
  }
  return samples;
}

function readLabels(text: string): Record<string, string> {
  // One label without anything escaped, which is what nearly all have.
  const equals = text.indexOf('="');
  if (text.indexOf('"', equals + 2) === text.length - 1 && !text.includes('\\')) return { [text.slice(0, equals)]: text.slice(equals + 2, -1) };
  const labels: Record<string, string> = {};
  for (const [, key, value] of text.matchAll(LABEL)) {
    if (key) labels[key] = (value ?? '').replace(/\\(.)/g, (_, it: string) => ESCAPED[it] ?? it);
  }
  return labels;
}
