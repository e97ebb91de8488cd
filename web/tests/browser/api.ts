// What tests ask of a node beside the browser.
import { until } from './process';

export type Sent = { id?: string; type: string; subject?: string; data: unknown };

export class Api {
  /** Where the node is; the same as the console's place, unless that is served beside it (CONSOLE_DEV=1). */
  api = '';
  #sent = 0;

  async get<T>(path: string): Promise<T> {
    const answer = await fetch(this.api + path);
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  async post(path: string): Promise<void> {
    const answer = await fetch(this.api + path, { method: 'POST' });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  }

  async sql(statement: string): Promise<{ rows?: unknown[][]; message?: string }> {
    const answer = await fetch(`${this.api}/v1/sql`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: statement });
    if (!answer.ok) throw new Error(`${statement}: ${await answer.text()}`);
    return (await answer.json()) as { rows?: unknown[][]; message?: string };
  }

  /** Appends events; data that is a text is taken for JSON as it is. Returns the places of them. */
  async append(stream: string, events: Sent[]): Promise<string[]> {
    const lines = events.map((event) => {
      const { data, ...rest } = event;
      const head = JSON.stringify({ specversion: '1.0', source: '/tests', id: `e-${this.#sent++}`, ...rest });
      return `${head.slice(0, -1)},"data":${typeof data === 'string' ? data : JSON.stringify(data)}}\n`;
    });
    const path = `${this.api}/v1/streams/${encodeURIComponent(stream)}/events`;
    const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: lines.join('') });
    if (!answer.ok) throw new Error(await answer.text());
    return ((await answer.json()) as { events: { position: string }[] }).events.map(({ position }) => position);
  }

  async parked(count: number, view: string): Promise<void> {
    await until(`${count} parked events of ${view}`, async () => (await this.get<{ parked: unknown[] }>(`/v1/parked?view=${view}`)).parked.length === count);
  }
}
