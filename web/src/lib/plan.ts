// The plan of a statement as a tree: its lines are indented by two blanks for each step towards where rows come from.

export type Step = { line: number; name: string; detail: string; depth: number; children: Step[]; x: number };
export type Plan = { roots: Step[]; steps: Step[]; width: number; depth: number };

/** Longer plans are shown as text alone. */
const STEPS_MAX = 200;

/** Reads the lines of a plan; undefined if they are too many to be drawn. */
export function readPlan(lines: string[]): Plan | undefined {
  if (lines.length === 0 || lines.length > STEPS_MAX) return undefined;
  const steps: Step[] = [];
  const roots: Step[] = [];
  const open: Step[] = [];
  for (const [line, text] of lines.entries()) {
    const words = text.trimStart();
    if (words === '') continue;
    const depth = Math.min(Math.floor((text.length - words.length) / 2), open.length);
    const step: Step = { line, ...split(words), depth, children: [], x: 0 };
    open.length = depth;
    const parent = open.at(-1);
    (parent ? parent.children : roots).push(step);
    open.push(step);
    steps.push(step);
  }
  let leaves = 0;
  const lay = (step: Step): void => {
    step.children.forEach(lay);
    const [first, last] = [step.children[0], step.children.at(-1)];
    // A step stands over the middle of what it reads.
    step.x = first && last ? (first.x + last.x) / 2 : leaves++;
  };
  roots.forEach(lay);
  return { roots, steps, width: Math.max(leaves, 1), depth: Math.max(...steps.map((it) => it.depth)) + 1 };
}

/** `AggregateExec: mode=Final` is an Aggregate with a detail; other lines are sentences. */
function split(words: string): { name: string; detail: string } {
  const match = /^(\w+?)(?:Exec)?(?:: (.*))?$/s.exec(words);
  if (match && (words.includes('Exec') || match[2] !== undefined)) return { name: spaced(match[1] ?? words), detail: match[2] ?? '' };
  const at = words.indexOf(' ', words.indexOf(' ') + 1);
  return at > 0 && words.length > 28 ? { name: words.slice(0, at), detail: words.slice(at + 1) } : { name: words, detail: '' };
}

/** `SortPreservingMerge` as words. */
function spaced(name: string): string {
  const words = name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
