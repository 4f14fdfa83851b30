"""What somebody else's program does with the stream of a test, with a line of JSON for each record.

`boto.py ENDPOINT read STREAM` reads all of it; `boto.py ENDPOINT write STREAM` puts records into it. Run by the test
`others`, with boto3 and aws_kinesis_agg as LocalStack's installation pins them. Bytes are base64.
"""

import base64
import json
import sys

import boto3

# The first one repairs the path by which the others are found.
from aws_kinesis_agg import DIGEST_SIZE, MAGIC, aggregator, deaggregator, messages_pb2

endpoint, command, stream = sys.argv[1:]
kinesis = boto3.client(
    "kinesis", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)


def text(data):
    return base64.b64encode(data).decode()


def inside(record):
    """The messages of an aggregate, and the tags of each, which the deaggregator does not tell."""
    if not record["Data"].startswith(MAGIC):
        return None
    aggregate = messages_pb2.AggregatedRecord.FromString(record["Data"][len(MAGIC) : -DIGEST_SIZE])
    tags = [[[tag.key, tag.value] for tag in one.tags] for one in aggregate.records]
    found = [one["kinesis"] for one in deaggregator.iter_deaggregate_records([record], data_format="Boto3")]
    return [
        {"key": one["partitionKey"], "hash": one["explicitHashKey"], "data": one["data"].decode(), "tags": tags}
        for one, tags in zip(found, tags, strict=True)
    ]


def read():
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        hashes = [shard["HashKeyRange"]["StartingHashKey"], shard["HashKeyRange"]["EndingHashKey"]]
        of = {"StreamName": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator, behind = kinesis.get_shard_iterator(**of)["ShardIterator"], True
        while behind:  # all was stored before we began
            reply = kinesis.get_records(ShardIterator=iterator)
            for record in reply["Records"]:
                told = {"key": record["PartitionKey"], "data": text(record["Data"]), "hashes": hashes}
                print(json.dumps(told | {"messages": inside(record)}))
            iterator, behind = reply["NextShardIterator"], reply["MillisBehindLatest"] > 0


def write():
    aggregate = aggregator.RecordAggregator()
    aggregate.add_user_record("customer-8", b"first")
    aggregate.add_user_record("customer-8", b"second")
    key, _, data = aggregate.clear_and_get().get_contents()
    records = [
        {"PartitionKey": "customer-7", "Data": b'{"order": 1}'},
        {"PartitionKey": "клиент", "Data": b"\x00\xff"},
        {"PartitionKey": "customer-7", "Data": b"2"},
        # In the last shard, wherever the key alone would lead to.
        {"PartitionKey": "elsewhere", "Data": b"3", "ExplicitHashKey": str(2**128 - 1)},
        {"PartitionKey": key, "Data": data},
    ]
    reply = kinesis.put_records(StreamName=stream, Records=records)
    for one in reply["Records"]:
        print(json.dumps({"sequence": one["SequenceNumber"]}))


{"read": read, "write": write}[command]()
