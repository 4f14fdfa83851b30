"""What somebody else's program does with the queues of a test: `write URL`, or `read URL COUNT` with a line of JSON each.

Run by the test `others`, with boto3 as LocalStack's installation pins it.
"""

import base64
import json
import sys

import boto3

endpoint, command, url, *rest = sys.argv[1:]
sqs = boto3.client(
    "sqs", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)
fifo = url.endswith(".fifo")


def write():
    plain = {"MessageBody": '{"order": 1}'}
    attributes = {
        "content-type": {"DataType": "String", "StringValue": "application/json"},
        "count": {"DataType": "Number.int", "StringValue": "7"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "strait-headers": {"DataType": "String", "StringValue": "not ours"},
    }
    # As the README of another language would have it: a message that this library is to take for one of its own.
    native = {
        "strait-id": {"DataType": "String", "StringValue": "01010101-0101-0101-0101-010101010101"},
        "strait-body": {"DataType": "Binary", "BinaryValue": b"\x00\x01binary"},
    }
    messages = [
        plain,
        {"MessageBody": "with attributes", "MessageAttributes": attributes},
        {"MessageBody": "-", "MessageAttributes": native},
    ]
    trace = {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"}
    messages[1]["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
    for number, message in enumerate(messages):
        if fifo:
            message |= {"MessageGroupId": f"customer-{number}", "MessageDeduplicationId": str(number)}
        sqs.send_message(QueueUrl=url, **message)


def read(count):
    seen = 0
    while seen < count:
        reply = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=5,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        for message in reply.get("Messages", []):
            seen += 1
            values = message.get("MessageAttributes", {})
            attributes = {
                name: value["StringValue"]
                if "StringValue" in value
                else {"base64": base64.b64encode(value["BinaryValue"]).decode()}
                for name, value in values.items()
            }
            system = message["Attributes"]
            print(
                json.dumps(
                    {
                        "body": message["Body"],
                        "attributes": attributes,
                        "group": system.get("MessageGroupId"),
                        "dedup": system.get("MessageDeduplicationId"),
                        "trace": system.get("AWSTraceHeader"),
                        "types": {name: value["DataType"] for name, value in values.items()},
                    }
                ),
                flush=True,
            )
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


if command == "write":
    write()
else:
    read(int(rest[0]))
