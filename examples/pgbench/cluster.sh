# Kafka and etcd for `run --cluster`: private servers in "$work", on free ports. Sourced, not run.

cluster_needs() {
  libraries=${TRADEWIND_TEST_KAFKA_LIBS:-${KAFKA_HOME:+$KAFKA_HOME/libs}}
  etcd=${TRADEWIND_TEST_ETCD:-etcd}
  if [ -z "$libraries" ] || ! "$etcd" --version >/dev/null 2>&1; then
    echo "error: Kafka and etcd are needed: run \`eval \"\$(cargo xtask services)\"\` first, or set KAFKA_HOME and have etcd in PATH" >&2
    exit 2
  fi
  java=(env "CLASSPATH=$libraries/*" "${TRADEWIND_TEST_JAVA:-java}" -Xmx512m -XX:+UseSerialGC
    "-Dlog4j2.configurationFile=$work/log4j2.xml")
}

# Waits until a command succeeds, and says what did not come about when it never does.
await() {
  local what=$1
  shift
  for _ in $(seq 3000); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "error: $what" >&2
  exit 2
}

kafka_start() {
  "${java[@]}" kafka.Kafka "$work/kafka.properties" >"$work/kafka.said" 2>&1 &
  kafka=$!
  await "Kafka does not start: see $work/kafka.said" grep -q 'Kafka Server started' "$work/kafka.said"
}

etcd_start() {
  local clients=http://127.0.0.1:$etcd_port peers=http://127.0.0.1:$etcd_peer_port
  "$etcd" --name pgbench --data-dir "$work/etcd" \
    --listen-client-urls "$clients" --advertise-client-urls "$clients" \
    --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "pgbench=$peers" \
    >>"$work/etcd.log" 2>&1 &
  coordination=$!
  await "etcd does not start: see $work/etcd.log" curl --silent --fail "$clients/health"
}

# Signal, process: ends a server and waits for its end.
end() {
  # It may be dead already.
  kill "-$1" "$2" 2>/dev/null || true
  wait "$2" 2>/dev/null || true
}

kafka_restart() { end "$1" "$kafka"; kafka_start; }
etcd_restart() { end "$1" "$coordination"; etcd_start; }

cluster_start() {
  kafka_port=$(free_port) controller_port=$(free_port) etcd_port=$(free_port) etcd_peer_port=$(free_port)
  cat >"$work/log4j2.xml" <<'XML'
<Configuration status="ERROR">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c{1})%n%xThrowable"/></Console></Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
  </Loggers>
</Configuration>
XML
  cat >"$work/kafka.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$work/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
CONF
  "${java[@]}" kafka.tools.StorageTool format --cluster-id VHJhZGV3aW5kLXRlc3RzIQ --config "$work/kafka.properties" >"$work/kafka.said"
  kafka_start
  etcd_start
}

cluster_stop() {
  [ -z "$kafka" ] || end KILL "$kafka"
  [ -z "$coordination" ] || end KILL "$coordination"
}

# What makes a node in the folder $1 one of the cluster.
cluster_config() {
  cat >"$1/tradewind.toml" <<TOML
[cluster]
enabled = true
node = "$(basename "$1")"

[kafka]
servers = "127.0.0.1:$kafka_port"

[etcd]
endpoints = ["http://127.0.0.1:$etcd_port"]
TOML
}
