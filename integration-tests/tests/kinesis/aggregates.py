"""What AWS's library for Python makes of aggregates: `read RECORD...`, or `write`, with a line of JSON for each.

Run by the test `aggregates`, as LocalStack's installation pins it. Records are base64.
"""

import base64
import json
import sys

# The first one repairs the path by which the others are found.
from aws_kinesis_agg import aggregator, deaggregator

command, *records = sys.argv[1:]


def text(data):
    return base64.b64encode(data).decode()


def read():
    for record in records:
        raw = {
            "Data": base64.b64decode(record),
            "PartitionKey": "outer",
            "SequenceNumber": "1",
            "ApproximateArrivalTimestamp": 1.0,
        }
        found = [one["kinesis"] for one in deaggregator.iter_deaggregate_records([raw], data_format="Boto3")]
        told = [{"key": one["partitionKey"], "hash": one["explicitHashKey"], "data": one["data"]} for one in found]
        print(json.dumps([one | {"data": text(base64.b64decode(one["data"]))} for one in told]))


def write():
    both = aggregator.RecordAggregator()
    both.add_user_record("customer-7", b"created")
    both.add_user_record("customer-8", b"\x00\xff", "340282366920938463463374607431768211455")
    both.add_user_record("customer-7", b"")
    key, hash_key, data = both.clear_and_get().get_contents()
    print(json.dumps({"key": key, "hash": hash_key, "data": text(data)}))


{"read": read, "write": write}[command]()
