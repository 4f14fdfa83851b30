"""What somebody else's program does with the channels of a test: `HOST write TOPIC`, or `HOST read SUBSCRIPTION COUNT` with a
line of JSON each, where HOST is that of the emulator.

Run by the test `others`, with google-cloud-pubsub as the emulator's installation pins it.
"""

import base64
import json
import os
import sys

from google.cloud import pubsub_v1

os.environ["PUBSUB_EMULATOR_HOST"], command, name, *rest = sys.argv[1:]


def write():
    ordering = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    publisher = pubsub_v1.PublisherClient(publisher_options=ordering)
    attributes = {"content-type": "application/json", "empty": "", "strait-id": "not ours"}
    # As the README of another language would have it: a message that this library is to take for one of its own.
    native = {"strait-id": "01010101-0101-0101-0101-010101010101"}
    for data, key, attributes in [
        (b'{"order": 1}', "customer 0", {}),
        (b"with attributes", "", attributes),
        (b"\x00\xffbinary", "k" * 1024, native),
        (b"", "", {"only": "attributes"}),
    ]:
        publisher.publish(name, data, ordering_key=key, **attributes).result(timeout=60)


def read(count):
    subscriber = pubsub_v1.SubscriberClient()
    seen = 0
    while seen < count:
        reply = subscriber.pull(subscription=name, max_messages=10, timeout=20)
        for received in reply.received_messages:
            seen += 1
            message = received.message
            line = {
                "data": base64.b64encode(message.data).decode(),
                "attributes": dict(message.attributes),
                "key": message.ordering_key,
            }
            print(json.dumps(line), flush=True)
        if reply.received_messages:
            subscriber.acknowledge(subscription=name, ack_ids=[it.ack_id for it in reply.received_messages])


if command == "write":
    write()
else:
    read(int(rest[0]))
