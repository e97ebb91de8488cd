// Which tables there are to ask, and their columns: read when a statement is written, and the columns of a table when it is named.
import { mentioned, written, type Table } from './statement';
import { run } from './sql';

/** Columns of so many tables of one statement are asked for. */
const DESCRIBED_MAX = 8;

export class Tables {
  all = $state.raw<Table[]>([]);
  #asked = new Set<string>();

  async read(): Promise<void> {
    try {
      const { rows } = await run('SHOW TABLES');
      const before = new Map(this.all.map((it) => [it.name, it]));
      this.all = rows.map(([name, kind]) => ({ ...before.get(String(name)), name: String(name), kind: String(kind) }));
      this.#asked.clear();
    } catch {
      // One can write without it.
    }
  }

  /** Asks for the columns of what a statement names. */
  describe(sql: string): void {
    const some = [...new Set(mentioned(sql, this.all).values())].filter((it) => !this.#asked.has(it.name)).slice(0, DESCRIBED_MAX);
    for (const table of some) {
      this.#asked.add(table.name);
      run(`DESCRIBE ${written(table.name)}`).then(
        ({ rows }) => {
          const columns = rows.map(([name, type]) => ({ name: String(name), type: String(type) }));
          this.all = this.all.map((it) => (it.name === table.name ? { ...it, columns } : it));
        },
        () => undefined,
      );
    }
  }
}
