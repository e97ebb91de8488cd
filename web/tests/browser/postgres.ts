// A PostgreSQL of a test: in a temporary folder, on a free port, ended with the test. Its programs are named by TRADEWIND_TEST_POSTGRES_BIN.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './process';

/** PostgreSQL refuses to run as root: then it runs as its own user, or as nobody. */
function user(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  const line = ['postgres', 'nobody'].map((name) => lines.find((it) => it.startsWith(`${name}:`))).find(Boolean);
  const [, , uid, gid] = (line ?? '').split(':');
  if (!uid || !gid) throw new Error('there is no user `postgres` and no `nobody`');
  return { uid: Number(uid), gid: Number(gid) };
}

export class Postgres {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tradewind-pg-'));
  #process: ChildProcess | undefined;
  #port = 0;

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.#port}/postgres`;
  }

  async start(): Promise<void> {
    const programs = process.env.TRADEWIND_TEST_POSTGRES_BIN?.split(':').at(-1);
    if (!programs) throw new Error('TRADEWIND_TEST_POSTGRES_BIN is not set: eval "$(cargo xtask services)" sets it');
    const who = user();
    if (who.uid !== undefined && who.gid !== undefined) chownSync(this.#folder, who.uid, who.gid);
    const data = join(this.#folder, 'data');
    const env = { ...process.env, LC_ALL: 'C.UTF-8' };
    const made = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '--wal-segsize=1'];
    execFileSync(join(programs, 'initdb'), made, { ...who, env, cwd: this.#folder, stdio: 'pipe' });
    this.#port = await freePort();
    const settings = { wal_level: 'logical', fsync: 'off', listen_addresses: '127.0.0.1', unix_socket_directories: this.#folder };
    const args = ['-D', data, '-p', String(this.#port), ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])];
    this.#process = spawn(join(programs, 'postgres'), args, { ...who, env, cwd: this.#folder, stdio: 'ignore' });
    await until('a PostgreSQL that answers', async () => (await this.run('SELECT 1'), true));
  }

  /** Runs statements, by the simple protocol; their rows are not read. */
  run(sql: string): Promise<void> {
    return new Promise((done, failed) => {
      const socket = connect(this.#port, '127.0.0.1');
      const message = (type: string, text: string): Buffer => {
        const body = Buffer.from(`${text}\0`);
        const length = Buffer.alloc(4);
        length.writeUInt32BE(body.length + 4);
        return Buffer.concat([Buffer.from(type), length, body]);
      };
      let [bytes, asked] = [Buffer.alloc(0), false];
      socket.on('error', failed);
      socket.on('connect', () => {
        const version = Buffer.from([0, 3, 0, 0]);
        const words = Buffer.from('user\0postgres\0database\0postgres\0\0');
        const length = Buffer.alloc(4);
        length.writeUInt32BE(version.length + words.length + 4);
        socket.write(Buffer.concat([length, version, words]));
      });
      socket.on('data', (piece) => {
        bytes = Buffer.concat([bytes, piece]);
        while (bytes.length >= 5 && bytes.length >= bytes.readUInt32BE(1) + 1) {
          const [type, size] = [String.fromCharCode(bytes[0] ?? 0), bytes.readUInt32BE(1) + 1];
          const body = bytes.subarray(5, size).toString();
          bytes = bytes.subarray(size);
          if (type === 'E') {
            failed(new Error(body.replaceAll('\0', ' ')));
            socket.destroy();
          } else if (type === 'Z' && !asked) {
            asked = true;
            socket.write(message('Q', sql));
          } else if (type === 'Z') {
            socket.end(message('X', '').subarray(0, 5));
            socket.destroy();
            done();
          }
        }
      });
    });
  }

  async stop(): Promise<void> {
    const process = this.#process;
    if (process && process.exitCode === null) {
      const end = new Promise<void>((ended) => process.once('exit', () => ended()));
      process.kill('SIGINT');
      await end;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
