// A projection beside what is built anew of it: where their rows differ.
import { getExact, query, seg } from './api';
import { plural } from './format';
import { plain, visible } from './json';

type Row = Record<string, unknown>;
/** A row that is not the same in both; `count` says how many more of it one version has, where that is not one. */
export type Difference = { kind: 'different' | 'only_old' | 'only_new'; old?: Row | null; new?: Row | null; count?: number | null };
export type Comparison = {
  old: { sql: string; rows: number };
  new: { sql: string; rows: number };
  /** What tells rows apart; nothing, where they are compared as a whole. */
  keys: string[];
  /** What is compared: the columns that both have, of the same type. */
  columns: string[];
  /** Columns of one version that the other one does not have, or has of another type. */
  only_old_columns: string[];
  only_new_columns: string[];
  same: number;
  different: number;
  only_old: number;
  only_new: number;
  rows: Difference[];
};

/** So many rows that differ are asked for. */
export const ROWS_MAX = 100;

export function comparePath(name: string, where: string): string {
  return `/v1/projections/${seg(name)}/compare${query({ limit: ROWS_MAX, where })}`;
}

export function compare(name: string, where: string, signal: AbortSignal): Promise<Comparison> {
  return getExact<Comparison>(comparePath(name, where), signal);
}

/** What was found, in one sentence. */
export function sentence(it: Comparison): string {
  const differ = it.different + it.only_old + it.only_new;
  const retyped = it.only_old_columns.filter((name) => it.only_new_columns.includes(name));
  const [gone, more] = [it.only_old_columns, it.only_new_columns].map((names) => names.filter((name) => !retyped.includes(name)));
  const named = (names: string[] | undefined, text: string): string => (names?.length ? `${text} ${names.map(visible).join(', ')}` : '');
  const columns = [named(more, 'the new one also has'), named(gone, 'the new one lacks'), named(retyped, 'of another type, and not compared:')].filter(Boolean);
  const rows =
    differ === 0
      ? it.same === 0
        ? 'Neither has a row'
        : `${it.same === 1 ? 'The one row is' : `All ${plural(it.same, 'row')} are`} the same`
      : [
          it.different > 0 ? `${plural(it.different, 'row')} ${it.different === 1 ? 'differs' : 'differ'}` : '',
          it.only_old > 0 ? `${plural(it.only_old, 'row')} ${it.only_old === 1 ? 'is' : 'are'} in the old one alone` : '',
          it.only_new > 0 ? `${plural(it.only_new, 'row')} ${it.only_new === 1 ? 'is' : 'are'} in the new one alone` : '',
          it.same === 0 ? 'none is the same' : `${plural(it.same, 'row')} ${it.same === 1 ? 'is' : 'are'} the same`,
        ]
          .filter(Boolean)
          .join(', ');
  return `${[rows, ...columns].join('; ')}.`;
}

/** One cell of a row that differs: what it is in both, or what it was and will be. */
export type Cell = { column: string; same?: string; before?: string; after?: string };

/** The cells of a row, in the order of the columns. */
export function cells(row: Difference, columns: string[]): Cell[] {
  const text = (of: Row | null | undefined, column: string): string | undefined => {
    if (!of || !(column in of)) return undefined;
    return of[column] === null ? 'NULL' : plain(of[column]);
  };
  return columns.map((column) => {
    const [before, after] = [text(row.old, column), text(row.new, column)];
    if (before !== undefined && before === after) return { column, same: before };
    return { column, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
  });
}

/** What a row is, in words. */
export function kind(row: Difference): string {
  const words = { different: 'differs', only_old: 'old only', only_new: 'new only' };
  return row.count && row.count > 1 ? `${words[row.kind]}, ${plural(row.count, 'time')}` : words[row.kind];
}
