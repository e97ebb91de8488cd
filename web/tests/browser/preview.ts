// The console as `npm run build` has left it, served beside a node (CONSOLE_DEV=1).
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { ended, freePort, until } from './process';

const WEB = join(import.meta.dirname, '..', '..');

export class Preview {
  #process: ChildProcess | undefined;
  #port = 0;

  /** Serves it, and passes requests on to a node; returns where, which is the same place each time. */
  async start(api: string): Promise<string> {
    this.#port ||= await freePort();
    const url = `http://127.0.0.1:${this.#port}`;
    if (this.#process) return url;
    const vite = join(WEB, 'node_modules', 'vite', 'bin', 'vite.js');
    const args = [vite, 'preview', '--host', '127.0.0.1', '--port', String(this.#port), '--strictPort'];
    this.#process = spawn(process.execPath, args, { cwd: WEB, env: { ...process.env, TRADEWIND_URL: api }, stdio: 'ignore' });
    await until('a preview that serves', async () => (await fetch(url)).ok);
    return url;
  }

  async stop(): Promise<void> {
    if (this.#process) await ended(this.#process);
    this.#process = undefined;
  }
}
