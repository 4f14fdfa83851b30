"""Azure's client for Python against the emulator. client.py CONNECTION CHECK: fails by an assertion."""

import datetime
import sys
import threading
import uuid

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

CONNECTION = sys.argv[1]
TIMEOUT = 60


def producer(connection=CONNECTION, **options):
    return EventHubProducerClient.from_connection_string(connection, retry_total=1, **options)


def consumer(group="$Default", **options):
    return EventHubConsumerClient.from_connection_string(CONNECTION, consumer_group=group, retry_total=1, **options)


def state(partition):
    with producer() as client:
        return client.get_partition_properties(partition)


def receive(count, partition, position, group="$Default", inclusive=False, client=None):
    """So many events of a partition from a position, or what there is until nothing comes for a second."""
    events, done = [], threading.Event()
    client = client or consumer(group)

    def on_event(_, event):
        if event is not None:
            events.append(event)
        if len(events) >= count or (event is None and count == NONE):
            done.set()

    arguments = {"partition_id": partition, "starting_position": position, "starting_position_inclusive": inclusive}
    thread = threading.Thread(target=lambda: client.receive(on_event, max_wait_time=1, **arguments), daemon=True)
    thread.start()
    came = done.wait(TIMEOUT)
    client.close()
    thread.join(TIMEOUT)
    assert came, f"{len(events)} events came, of {count}"
    return events


NONE = sys.maxsize


def bodies(events):
    return [event.body_as_str() for event in events]


def send(partition, texts):
    with producer() as client:
        batch = client.create_batch(partition_id=partition)
        for text in texts:
            batch.add(EventData(text))
        client.send_batch(batch)


def properties():
    with producer() as client:
        hub = client.get_eventhub_properties()
        assert hub["eventhub_name"] == client.eventhub_name and hub["partition_ids"] == ["0", "1", "2", "3"], hub
        empty = client.get_partition_properties("3")
        assert empty["is_empty"] and empty["last_enqueued_sequence_number"] == -1, empty
        assert empty["last_enqueued_time_utc"].year == 1, empty
        client.send_batch([EventData("1"), EventData("2")], partition_id="3")
        full = client.get_partition_properties("3")
        assert not full["is_empty"] and full["last_enqueued_sequence_number"] == 1, full
        assert full["last_enqueued_offset"] not in ("0", "1"), full


def keys_and_partitions():
    # The service's hash: customer-7 goes to partition 2 of 4.
    with producer() as client:
        client.send_batch([EventData("1")], partition_key="customer-7")
        batch = client.create_batch(partition_key="customer-7")
        batch.add(EventData("2"))
        client.send_batch(batch)
        client.send_event(EventData("3"), partition_key="customer-7")
        client.send_event(EventData("other"), partition_id="1")
    events = receive(3, "2", "-1")
    assert bodies(events) == ["1", "2", "3"] and all(event.partition_key == b"customer-7" for event in events)
    assert [event.sequence_number for event in events] == [0, 1, 2]
    assert bodies(receive(1, "1", "-1")) == ["other"]


def positions():
    send("0", "abc")
    between = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=5)
    while datetime.datetime.now(datetime.timezone.utc) < between + datetime.timedelta(milliseconds=5):
        pass
    send("0", "de")
    events = receive(5, "0", "-1")
    assert bodies(events) == list("abcde")
    assert bodies(receive(3, "0", events[1].sequence_number)) == list("cde")
    assert bodies(receive(4, "0", events[1].sequence_number, inclusive=True)) == list("bcde")
    assert bodies(receive(3, "0", events[1].offset)) == list("cde")
    assert bodies(receive(4, "0", events[1].offset, inclusive=True)) == list("bcde")
    assert bodies(receive(2, "0", between)) == list("de")
    assert receive(NONE, "0", "@latest") == []
    assert receive(NONE, "0", events[4].sequence_number) == []


def latest():
    send("0", "a")
    events, ready, done = [], threading.Event(), threading.Event()

    def on_event(_, event):
        if event is None:
            ready.set()
        else:
            events.append(event)
            done.set()

    client = consumer()
    arguments = {"partition_id": "0", "starting_position": "@latest", "max_wait_time": 1}
    thread = threading.Thread(target=lambda: client.receive(on_event, **arguments), daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT)
    send("0", "b")
    assert done.wait(TIMEOUT)
    client.close()
    thread.join(TIMEOUT)
    assert bodies(events) == ["b"]


def epochs():
    send("0", "a")
    lost, reading = threading.Event(), threading.Event()
    errors = []

    def on_error(_, error):
        errors.append(error)
        lost.set()

    first = consumer()

    def read():
        first.receive(
            lambda *_: reading.set(), on_error=on_error, partition_id="0", starting_position="-1", owner_level=5
        )

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert reading.wait(TIMEOUT)
    events, done = [], threading.Event()

    def on_event(_, event):
        events.append(event)
        done.set()

    second = consumer()

    def steal():
        second.receive(on_event, partition_id="0", starting_position="-1", owner_level=6)

    thief = threading.Thread(target=steal, daemon=True)
    thief.start()
    assert done.wait(TIMEOUT) and lost.wait(TIMEOUT)
    assert any("epoch" in str(error) for error in errors), errors
    first.close()
    second.close()
    thread.join(TIMEOUT)
    thief.join(TIMEOUT)


def groups():
    send("0", "abc")
    for group in ("$Default", "billing"):
        assert bodies(receive(3, "0", "-1", group)) == list("abc")


def wrong_key():
    name, value = "SharedAccessKey=", CONNECTION.split("SharedAccessKey=")[1].split(";")[0]
    with producer(CONNECTION.replace(name + value, name + "d3Jvbmc=")) as client:
        try:
            client.get_eventhub_properties()
        except EventHubError as error:
            assert "authentication failed" in str(error), error
        else:
            raise AssertionError("a wrong key was let in")


def oversize():
    with producer() as client:
        batch = client.create_batch()
        try:
            batch.add(EventData(b"x" * (1 << 20)))
        except ValueError:
            pass
        else:
            raise AssertionError("an event of 1 MiB fits a batch of 1 MiB")
        try:
            client.send_event(EventData(b"x" * (1 << 20)), partition_id="0")
        except EventHubError:
            pass  # it keeps the reason to itself
        else:
            raise AssertionError("an event that is too large was sent")
        client.send_event(EventData(b"x" * 1000_000), partition_id="0")
    [event] = receive(1, "0", "-1")
    assert sum(len(part) for part in event.body) == 1000_000


def server_busy():
    with producer() as client:
        try:
            client.send_batch([EventData("1")], partition_id="0")
        except EventHubError as error:
            assert "50002" in str(error), error
        else:
            raise AssertionError("a rejected request was taken for sent")
    assert state("0")["is_empty"]


def every_type():
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    expected = {
        "text": "ж",
        "number": 7,
        "negative": -5,
        "fraction": 1.5,
        "yes": True,
        "nothing": None,
        "bytes": b"\x00\xff",
        "uuid": uuid.UUID(int=7),
        "time": now,
    }
    event = EventData(b"")
    event.properties = dict(expected)
    event.content_type, event.correlation_id, event.message_id = "application/json", "c", "m"
    with producer() as client:
        client.send_event(event, partition_id="0")
        client.send_batch([event], partition_id="0")
    for event in receive(2, "0", "-1"):
        read = {name.decode() if isinstance(name, bytes) else name: value for name, value in event.properties.items()}
        read["text"] = read["text"].decode() if isinstance(read["text"], bytes) else read["text"]
        if not isinstance(read["time"], datetime.datetime):
            read["time"] = datetime.datetime.fromtimestamp(read["time"] / 1000, datetime.timezone.utc)
        assert read == expected, read
        assert (event.content_type, event.correlation_id, event.message_id) == ("application/json", "c", "m")
        assert b"".join(event.body) == b""


def compound():
    # Properties that have parts of their own.
    event = EventData(b"body")
    event.properties = {"list": [1, "a", None], "map": {"k": [True, 1.5]}, "text": "ж"}
    with producer() as client:
        client.send_event(event, partition_id="0")


def reads_ours():
    # Sent by this project, once for each way to choose the partition.
    for event in receive(2, "2", "-1"):
        read = {name.decode() if isinstance(name, bytes) else name: value for name, value in event.properties.items()}
        read["text"] = read["text"].decode() if isinstance(read["text"], bytes) else read["text"]
        assert read == {"text": "ж", "bytes": b"\x00\xff"}, read
        assert event.body_as_str() == "ours" and event.partition_key == b"customer-7", event
        assert event.message_id == "01010101-0101-0101-0101-010101010101", event.message_id
        assert (event.content_type, event.correlation_id) == ("text/plain", "c")


def in_order():
    with producer() as client:
        for partition in range(4):
            for first in range(0, 1250, 250):
                batch = client.create_batch(partition_id=str(partition))
                for index in range(first, first + 250):
                    batch.add(EventData(f"{partition}-{index}"))
                client.send_batch(batch)
    for partition in range(4):
        events = receive(1250, str(partition), "-1")
        assert bodies(events) == [f"{partition}-{index}" for index in range(1250)]
        assert [event.sequence_number for event in events] == list(range(1250))


globals()[sys.argv[2]]()
