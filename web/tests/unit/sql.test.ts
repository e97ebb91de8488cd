// Statements as they are typed, plans as trees, and rows as charts.
import { expect, test } from '@playwright/test';
import { first, lay, ticks } from '../../src/lib/chart';
import { readPlan } from '../../src/lib/plan';
import type { Result } from '../../src/lib/sql';
import { complete, mentioned, tokens, written, type Table } from '../../src/lib/statement';

const TABLES: Table[] = [
  { name: 'shop.orders', kind: 'stream', columns: [{ name: 'state', type: 'text' }, { name: 'total', type: 'numeric' }] },
  { name: 'revenue', kind: 'projection', columns: [{ name: 'customer_id', type: 'bigint' }] },
  { name: 'Odd Name', kind: 'stream' },
];
const offers = (sql: string, asked = false): string[] | undefined => complete(sql, sql.length, TABLES, asked)?.items.map((it) => it.insert);

test('the pieces of a statement are the statement, and each is what it is', () => {
  const sql = `SELECT left(a, 2), 'it''s', "Q" -- note\nFROM t /* open`;
  expect(tokens(sql).map((it) => it.text).join('')).toBe(sql);
  const kinds = tokens(sql).filter((it) => it.kind).map((it) => `${it.kind} ${it.text}`);
  expect(kinds).toEqual(['keyword SELECT', 'function left', 'word a', 'number 2', "text 'it''s'", 'quoted "Q"', 'comment -- note', 'keyword FROM', 'word t', 'comment /* open']);
  const odd = ["'open", '"open', '', '🙂 größe = 1e-3', '--', '/**/x'];
  for (const text of odd) expect(tokens(text).map((it) => it.text).join(''), text).toBe(text);
});

test('tables come after FROM, columns of the tables that are named elsewhere', () => {
  expect(offers('SELECT * FROM re')).toContain('revenue');
  expect(offers('SELECT * FROM or')?.[0]).toBe('shop.orders');
  expect(offers('SELECT * FROM ', true)?.slice(0, 3)).toEqual(['shop.orders', 'revenue', '"Odd Name"']);
  expect(offers('SELECT * FROM shop.orders WHERE st')?.[0]).toBe('state');
  expect(offers('SELECT * FROM shop.orders o JOIN revenue r ON r.')).toEqual(['customer_id']);
  expect(offers('SELECT * FROM shop.orders o JOIN revenue r ON o.t')).toEqual(['total']);
  expect(offers('SELECT * FROM events."shop.orders" WHERE to')?.[0]).toBe('total');
});

test('nothing is offered within texts and comments, nor what is there already', () => {
  for (const sql of ["SELECT 'fro", 'SELECT 1 -- sel', 'SELECT "sta', 'SELECT', '/* sel', 'a']) expect(offers(sql), sql).toBeUndefined();
  expect(offers('sel')).toEqual(['select']);
  expect(offers('SEL')).toEqual(['SELECT']);
  expect(complete('SELECT sta FROM shop.orders', 10, TABLES)?.items[0]?.insert).toBe('state');
  expect(complete('SELECT state', 8, TABLES)).toBeUndefined();
});

test('names are found with their aliases, and written so that they are read again', () => {
  expect([...mentioned('SELECT 1 FROM shop.orders AS o, revenue WHERE x', TABLES).keys()].sort()).toEqual(['o', 'revenue', 'shop.orders']);
  expect(mentioned("SELECT 'revenue' -- shop.orders", TABLES).size).toBe(0);
  expect(['shop.orders', '$config', 'Odd Name', 'order', 'a"b'].map(written)).toEqual(['shop.orders', '"$config"', '"Odd Name"', '"order"', '"a""b"']);
});

test('a plan is a tree by its indentation', () => {
  const plan = readPlan(['SortExec: x', '  HashJoinExec: on=[a]', '    StreamingTableExec: projection=[a]', '    FilterExec: b = 1', '      StreamingTableExec: b']);
  expect(plan?.steps.map((it) => `${it.depth} ${it.x} ${it.name}|${it.detail}`)).toEqual([
    '0 0.5 Sort|x', '1 0.5 Hash join|on=[a]', '2 0 Streaming table|projection=[a]', '2 1 Filter|b = 1', '3 1 Streaming table|b',
  ]);
  expect([plan?.width, plan?.height, plan?.isRow]).toEqual([2, 4, false]);
  expect(readPlan(['read the events of shop.orders: id', 'group by x', '      deeper than it can be'])?.steps.map((it) => [it.x, it.y])).toEqual([[0, 0], [0, 1], [1, 2]]);
  const projection = readPlan(['read the events of shop.orders: id', 'compute id, a = 1', 'group by shop.orders.id', '  count(*) FILTER (x: 1)', 'when it is read']);
  expect(projection?.steps.map((it) => `${it.name}|${it.detail}`)).toEqual([
    'Read the events of shop.orders|id', 'Compute|id, a = 1', 'Group by|shop.orders.id', 'count|count(*) FILTER (x: 1)', 'When it is read|',
  ]);
  expect(readPlan(Array.from({ length: 201 }, () => 'x'))).toBeUndefined();
});

test('rows are laid out by what their columns are', () => {
  const rows: Result = { columns: [{ name: 'day', type: 'date' }, { name: 'n', type: 'bigint' }, { name: 'total', type: 'numeric(12,2)' }], rows: [['2026-01-02', 2, '3.50'], ['2026-01-01', 1, null]] };
  expect(first(rows)).toEqual({ x: 'day', y: ['n'], shape: 'line' });
  const line = lay(rows, 'day', ['n', 'total'], 'line');
  expect(line.points.map((it) => [it.label, ...it.values])).toEqual([['2026-01-01', 1, undefined], ['2026-01-02', 2, 3.5]]);
  expect([line.min, line.max]).toEqual([1, 3.5]);
  const many: Result = { columns: [{ name: 'k', type: 'text' }, { name: 'n', type: 'bigint' }], rows: Array.from({ length: 100 }, (_, n) => [`k${n}`, n + 5]) };
  const bars = lay(many, 'k', ['n'], 'bar');
  expect([bars.points.length, bars.left, bars.min]).toEqual([60, 40, 0]);
  expect(first({ columns: [{ name: 'a', type: 'text' }], rows: [] })).toBeUndefined();
});

test('an axis has round marks that hold all values', () => {
  expect(ticks(0, 97, 5)).toEqual([0, 20, 40, 60, 80, 100]);
  expect(ticks(-3, 4, 4)).toEqual([-4, -2, 0, 2, 4]);
  expect(ticks(5, 5, 4)).toHaveLength(2);
  expect(ticks(0.1, 0.31, 3)).toEqual([0.1, 0.2, 0.3, 0.4]);
});
