"""What a Kinesis Client Library makes of a stream, with a line of JSON for each of its calls: `kcl.py ENDPOINT STREAM`.

Reads from TRIM_HORIZON, as an application that is named by the stream, until standard input ends. Then it prints the
checkpoints of its lease table and deletes it. Run by the test `kcl`, with kcl-rs as LocalStack's installation pins it.
"""

import json
import sys
import threading

import boto3
from kcl_rs import CheckpointError, RecordProcessorBase, Scheduler

endpoint, stream = sys.argv[1:]
application = f"kcl-{stream}"
region, identity, secret = "us-east-1", "test", "test"
one_at_a_time = threading.Lock()


def say(what):
    with one_at_a_time:
        print(json.dumps(what), flush=True)


def checkpoint(checkpointer):
    try:
        checkpointer.checkpoint()
    except CheckpointError as error:  # the records are redelivered then
        print("no checkpoint:", error, file=sys.stderr)


class Processor(RecordProcessorBase):
    def initialize(self, initialize_input):
        self.shard = initialize_input.shard_id

    def process_records(self, process_records_input):
        found = process_records_input.records
        records = [[one.partition_key, one.binary_data.decode(errors="replace")] for one in found]
        say({"shard": self.shard, "records": records})
        checkpoint(process_records_input.checkpointer)

    def lease_lost(self, lease_lost_input):
        pass

    def shard_ended(self, shard_ended_input):
        checkpoint(shard_ended_input.checkpointer)

    def shutdown_requested(self, shutdown_requested_input):
        checkpoint(shutdown_requested_input.checkpointer)


scheduler = Scheduler(
    stream_name=stream,
    application_name=application,
    record_processor_factory=Processor,
    region=region,
    endpoint_url=endpoint,
    access_key_id=identity,
    secret_access_key=secret,
    initial_position="TRIM_HORIZON",
    retrieval_mode="POLLING",  # LocalStack's enhanced fan-out breaks off at the end of a shard
    idle_time_between_reads_millis=200,
    shard_sync_interval_millis=1000,  # it also waits this long before it starts
)
scheduler.start()
sys.stdin.read()
scheduler.shutdown()
table = boto3.resource(
    "dynamodb",
    endpoint_url=endpoint,
    region_name=region,
    aws_access_key_id=identity,
    aws_secret_access_key=secret,
).Table(application)
# The other rows are the state of its workers.
rows = [row for row in table.scan(ConsistentRead=True)["Items"] if "checkpoint" in row]
say({"leases": {row["leaseKey"]: row["checkpoint"] for row in rows}})
table.delete()
