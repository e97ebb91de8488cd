// A real cluster of two nodes for each worker that needs one, with its Kafka and its etcd. It takes some seconds to start, so all tests of a
// worker share it. Programs are named by TRADEWIND_TEST_ETCD, TRADEWIND_TEST_JAVA and TRADEWIND_TEST_KAFKA_LIBS.
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Api } from './api';
import { binary, servesConsole, test as base } from './node';
import { Preview } from './preview';
import { ended, until } from './process';

type Told = { kafka: string; nodes: { name: string; url: string }[] };
type Unit = { name: string; owner?: string; planned: string };
type View = { nodes: { name: string; state: string }[]; units: Unit[] };

function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: eval "$(cargo xtask services)" sets it`);
  return value;
}

/** How Java is started, and the jars of Kafka that are there. */
export function java(): { program: string; jars: string } {
  return { program: process.env.TRADEWIND_TEST_JAVA || 'java', jars: join(variable('TRADEWIND_TEST_KAFKA_LIBS'), '*') };
}

/** Lays out Kafka and etcd as their distributions do; what `cluster local` finds them by. */
function programs(folder: string): NodeJS.ProcessEnv {
  const { program, jars } = java();
  const [kafka, own] = [join(folder, 'kafka'), join(folder, 'etcd')];
  mkdirSync(join(kafka, 'bin'), { recursive: true });
  for (const [name, main] of [['kafka-server-start.sh', 'kafka.Kafka'], ['kafka-storage.sh', 'kafka.tools.StorageTool']] as const) {
    const path = join(kafka, 'bin', name);
    writeFileSync(path, `#!/bin/sh\nexec ${program} $KAFKA_HEAP_OPTS -XX:TieredStopAtLevel=1 -cp '${jars}' ${main} "$@"\n`);
    chmodSync(path, 0o755);
  }
  mkdirSync(own);
  const etcd = variable('TRADEWIND_TEST_ETCD');
  // A program that is found by its name alone is in PATH already.
  if (isAbsolute(etcd)) symlinkSync(etcd, join(own, 'etcd'));
  return { ...process.env, KAFKA_HOME: kafka, PATH: `${own}${delimiter}${process.env.PATH ?? ''}` };
}

export class TestCluster extends Api {
  readonly folder = mkdtempSync(join(tmpdir(), 'tradewind-cluster-'));
  /** Where the console is: that of the first node. */
  url = '';
  /** Where Kafka listens. */
  kafka = '';
  #child: ChildProcess | undefined;
  readonly #preview = new Preview();

  async start(): Promise<void> {
    const args = ['cluster', 'local', '--nodes', '2', '--port', '0', '-o', 'json', '--data', this.#data()];
    const child = spawn(binary(), args, { cwd: this.folder, env: programs(this.folder), stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    const told = await new Promise<Told>((tell, failed) => {
      createInterface({ input: child.stdout }).once('line', (line) => tell(JSON.parse(line) as Told));
      child.once('exit', (code) => failed(new Error(`the cluster ended with ${code} before it served`)));
    });
    this.api = told.nodes[0]?.url ?? '';
    this.kafka = told.kafka;
    this.url = process.env.CONSOLE_DEV ? await this.#preview.start(this.api) : this.api;
    await servesConsole(this.url);
  }

  #data(): string {
    return join(this.folder, 'data');
  }

  /** Sends a signal to one of the nodes. One that ends is started again after some seconds. */
  signal(node: string, signal: NodeJS.Signals): void {
    process.kill(Number(readFileSync(join(this.#data(), node, 'pid'), 'utf8')), signal);
  }

  view(): Promise<View> {
    return this.get<View>('/v1/cluster');
  }

  /** Waits until all nodes take work, have some, and every unit is where it is to be. */
  async settled(): Promise<void> {
    await until('a cluster at rest', async () => {
      const { nodes, units } = await this.view();
      const busy = nodes.filter(({ name, state }) => state === 'active' && units.some((unit) => unit.owner === name));
      return busy.length === 2 && units.every((unit) => unit.owner === unit.planned);
    });
  }

  /** Makes a stream, and waits until every partition of it has an owner. */
  async create(stream: string, columns: string, partitions: number): Promise<void> {
    await this.sql(`CREATE STREAM ${stream} ${columns} WITH (partitions = ${partitions})`);
    await until(`owners of ${stream}`, async () => (await this.view()).units.filter((unit) => unit.name.startsWith(`${stream}/`) && unit.owner).length === partitions);
  }

  /** Has a node hand over everything, and take its share again. */
  async cycle(node: string): Promise<void> {
    await this.post(`/v1/cluster/nodes/${node}/drain`);
    await until(`nothing on ${node}`, async () => (await this.view()).units.every((unit) => unit.owner && unit.owner !== node));
    await this.post(`/v1/cluster/nodes/${node}/activate`);
    await this.settled();
  }

  async stop(): Promise<void> {
    await this.#preview.stop();
    // It ends its nodes and servers in order.
    if (this.#child) await ended(this.#child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A shop on the cluster: a stream over both nodes, and a projection of it. */
async function fill(cluster: TestCluster): Promise<void> {
  await cluster.create('shop.orders', '(id bigint NOT NULL, state text NOT NULL)', 6);
  await cluster.sql('CREATE PROJECTION by_state AS SELECT state, count(*) AS orders FROM shop.orders GROUP BY state');
  await cluster.append('shop.orders', Array.from({ length: 60 }, (_, id) => ({ type: 'order.placed', subject: `order-${id}`, data: { id, state: 'placed' } })));
  // What the cluster measures has a stream, too, which comes a little later than the others.
  await until('a stream of what is measured', async () => (await cluster.view()).units.some(({ name }) => name.startsWith('$metrics/')));
  await cluster.settled();
}

export const test = base.extend<object, { cluster: TestCluster }>({
  cluster: [
    async ({}, use) => {
      const cluster = new TestCluster();
      try {
        await cluster.start();
        await fill(cluster);
        await use(cluster);
      } finally {
        await cluster.stop();
      }
    },
    { scope: 'worker', timeout: 180_000 },
  ],
});
