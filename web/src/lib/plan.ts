// The plan of a statement as a tree: its lines are indented by two blanks for each step towards where rows come from. The plan of a
// projection has several beginnings: these follow one another, from the events down to the rows.

/** `x` and `y` count places from the left and from the top; in a row of steps `x` is how far one is indented. */
export type Step = { line: number; name: string; detail: string; depth: number; children: Step[]; x: number; y: number };
export type Plan = { steps: Step[]; width: number; height: number; isRow: boolean };

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
    const step: Step = { line, ...split(words), depth, children: [], x: 0, y: depth };
    open.length = depth;
    const parent = open.at(-1);
    (parent ? parent.children : roots).push(step);
    open.push(step);
    steps.push(step);
  }
  if (roots.length > 1) {
    for (const [n, step] of steps.entries()) [step.x, step.y] = [step.depth, n];
    return { steps, width: Math.max(...steps.map((it) => it.depth)) + 1, height: steps.length, isRow: true };
  }
  let leaves = 0;
  const lay = (step: Step): void => {
    step.children.forEach(lay);
    const [first, last] = [step.children[0], step.children.at(-1)];
    // A step stands over the middle of what it reads.
    step.x = first && last ? (first.x + last.x) / 2 : leaves++;
  };
  roots.forEach(lay);
  return { steps, width: Math.max(leaves, 1), height: Math.max(...steps.map((it) => it.depth)) + 1, isRow: false };
}

/** `AggregateExec: mode=Final` is an Aggregate with a detail; of sentences the verb says what is done, and the rest with what. */
function split(words: string): { name: string; detail: string } {
  const operator = /^(\w+)Exec(?:: (.*))?$/s.exec(words);
  if (operator) return { name: spaced(operator[1] ?? ''), detail: operator[2] ?? '' };
  const said = /^([^(:]+): (.+)$/s.exec(words) ?? /^(compute|group by|distinct|where|having|keep) (.+)$/s.exec(words);
  if (said) return { name: upper(said[1] ?? ''), detail: said[2] ?? '' };
  const called = /^(\w+)\(/.exec(words);
  return called ? { name: called[1] ?? '', detail: words } : { name: upper(words), detail: '' };
}

function upper(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `SortPreservingMerge` as words. */
function spaced(name: string): string {
  return upper(name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase());
}
