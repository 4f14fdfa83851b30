#!/usr/bin/env python3
"""Recomputes a run of the example `orders` from its CSV and its dump alone.

usage: check.py [--apart] ORDERS.csv DUMP    checks; prints one line of JSON; exits 1 with reasons if anything is wrong
       check.py --self-test            shows on a simulated run that every kind of damage is found
       check.py --self-test ORDERS.csv DUMP    the same on a real one

--apart: payment and shipping were left to other processes, of which the dump knows only what they sent.

Needs nothing but Python's standard library.
"""
import copy
import csv
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from pathlib import Path

RECEIVERS = {
    "orders": ["payment", "management-orders"],
    "payments": ["shipping", "management-payments"],
    "shipments": ["management-shipments"],
    "shipping-dead": ["management-dead"],
    "status": ["storefront"],
}
RANK = {"Placed": 0, "Paid": 1, "PaymentFailed": 2, "Shipped": 2, "Rejected": 2}
TOO_MANY, FLAKY = 40, 97


def read_orders(path):
    """Orders by id, money in cents."""
    orders = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            whole, _, part = row["dollars"].partition(".")
            order = {"customer_id": row["customer_id"], "date": row["date"], "items": int(row["items"])}
            order["cents"] = int(whole) * 100 + int((part + "00")[:2])
            orders[int(row["order_id"])] = order
    return orders


def fate(order):
    if order["cents"] == 0:
        return "PaymentFailed"
    return "Rejected" if order["items"] >= TOO_MANY else "Shipped"


def payload_of(channel, number, order):
    """What a channel must say of an order, or None if nothing. Of `status` see check_status."""
    end = fate(order)
    if channel == "orders":
        return {"event": "OrderPlaced", "order_id": number, **order}
    if channel == "payments" and end == "PaymentFailed":
        return {"event": "PaymentFailed", "order_id": number, "reason": "nothing to charge"}
    if channel == "payments" or (channel == "shipping-dead" and end == "Rejected"):
        return {"event": "PaymentSucceeded", "order_id": number, "items": order["items"], "cents": order["cents"]}
    if channel == "shipments" and end == "Shipped":
        return {"event": "ShippingLabelGenerated", "order_id": number, "label": f"CD-{number:06}"}
    return None


def read_dump(directory):
    """Lines by channel, and the tables of the database."""
    dump = {}
    for channel in RECEIVERS:
        with open(Path(directory, channel + ".jsonl")) as file:
            dump[channel] = [json.loads(line) for line in file]
    database = sqlite3.connect(f"file:{Path(directory, 'orders.sqlite')}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    for table in ("orders", "seen", "outbox"):
        dump["sqlite." + table] = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
    return dump


class Check:
    def __init__(self, orders, dump):
        self.orders, self.dump = orders, dump
        self.reasons, self.out_of_order, self.tried = [], 0, set()
        for channel, receivers in RECEIVERS.items():
            self.check_channel(channel, receivers)
        self.check_status()
        self.check_database()

    def wrong(self, *reason):
        self.reasons.append(" ".join(str(part) for part in reason))

    def check_channel(self, channel, receivers):
        """Content, identity and order of one channel, and that each of its receivers handled all of it."""
        lines = self.dump[channel]
        if [line["seq"] for line in lines] != list(range(1, len(lines) + 1)):
            self.wrong(channel, "has lines missing or moved: seq does not count 1, 2, 3, ..")
        ids, places = {}, {}
        handled = {receiver: set() for receiver in receivers}
        last = defaultdict(int)
        for line in lines:
            payload, receiver, where = line["payload"], line["receiver"], f"{channel} line {line['seq']}"
            number, order = payload.get("order_id"), self.orders.get(payload.get("order_id"))
            if receiver not in handled or order is None:
                self.wrong(where, "is of an unknown receiver or order")
                continue
            if line["key"] != order["customer_id"]:
                self.wrong(where, "has the key of another customer")
            if channel != "status" and payload != payload_of(channel, number, order):
                self.wrong(where, "does not say what it must of order", number)
            what = payload.get("change") if channel == "status" else number
            if ids.setdefault(line["id"], what) != what:
                self.wrong(where, "has the id of another message")
            place = (receiver, line["partition"], line["position"])
            if line["partition"] is not None and places.setdefault(place, line["id"]) != line["id"]:
                self.wrong(where, "is at the place of another message")
            self.check_ending(channel, where, line, order)
            if line["ending"] == "retry" or what in handled[receiver]:
                continue  # not handled yet, or once more: at least once allows that
            handled[receiver].add(what)
            if last[receiver, line["key"]] >= what:
                self.out_of_order += 1
                self.wrong(where, "comes after a later one of its customer")
            last[receiver, line["key"]] = max(last[receiver, line["key"]], what)
        if len(set(ids.values())) != len(ids):
            self.wrong(channel, "says the same thing under two ids")
        if channel != "status":
            due = {number for number, order in self.orders.items() if payload_of(channel, number, order)}
            for receiver in receivers:
                if due - handled[receiver]:
                    self.wrong(receiver, "never handled", len(due - handled[receiver]), "orders of", channel)

    def check_ending(self, channel, where, line, order):
        first = (line["receiver"], line["id"]) not in self.tried
        self.tried.add((line["receiver"], line["id"]))
        flaky = first and line["receiver"] == "payment" and line["payload"].get("order_id", 1) % FLAKY == 0
        rejected = line["receiver"] == "shipping" and fate(order) == "Rejected"
        if line["ending"] != ("retry" if flaky else "rejected" if rejected else "done"):
            self.wrong(where, "ended as", line["ending"])

    def check_status(self):
        """Each order's status rises, and ends where it must."""
        reached, seen = {}, {}
        for line in self.dump["status"]:
            payload = line["payload"]
            number, status = payload.get("order_id"), payload.get("status")
            if set(payload) != {"event", "order_id", "status", "change"} or status not in RANK:
                self.wrong("status line", line["seq"], "is not a change of status")
            elif seen.setdefault(payload["change"], (number, status)) != (number, status):
                self.wrong("status line", line["seq"], "is another change under the same number")
            elif number not in reached or RANK[reached[number][1]] < RANK[status]:
                reached[number] = (payload["change"], status)
            elif reached[number] < (payload["change"], status):
                self.wrong("order", number, "went back to", status)
        if set(seen) != set(range(1, len(seen) + 1)):
            self.wrong("status has changes missing: they do not count 1, 2, 3, ..")
        self.lost = 0
        for number, order in self.orders.items():
            status = reached.get(number, (0, None))[1]
            if status != fate(order):
                self.lost += 1
                self.wrong("order", number, "is", status, "and must be", fate(order))

    def check_database(self):
        """The database says the same, and counts the deliveries of management as the channels do."""
        rows = {row["order_id"]: row for row in self.dump["sqlite.orders"]}
        if set(rows) != set(self.orders):
            self.wrong("the database has other orders than the CSV")
        for number, order in self.orders.items():
            end = fate(order)
            due = {"order_id": number, **order, "paid": int(end != "PaymentFailed"), "status": end}
            due["label"] = f"CD-{number:06}" if end == "Shipped" else None
            due["rejected"] = 1 if end == "Rejected" else None
            if rows.get(number) != due:
                self.wrong("the database is wrong on order", number)
        if self.dump["sqlite.outbox"]:
            self.wrong("the outbox is not empty")
        deliveries = Counter()
        for channel in RECEIVERS:
            for line in self.dump[channel]:
                if line["receiver"].startswith("management"):
                    deliveries[line["receiver"], line["id"]] += 1
        seen = Counter({(row["channel"], row["id"]): row["deliveries"] for row in self.dump["sqlite.seen"]})
        if seen != deliveries:
            self.wrong("the database counts other deliveries than the channels show")
        self.duplicates = sum(deliveries.values()) - len(deliveries)

    def summary(self):
        tried = {line["payload"].get("order_id") for line in self.dump["orders"] if line["ending"] == "retry"}
        cents = sum(row["cents"] or 0 for row in self.dump["sqlite.orders"])
        count = Counter(row["status"] for row in self.dump["sqlite.orders"])
        return {
            "orders": len(self.dump["sqlite.orders"]),
            "customers": len({row["customer_id"] for row in self.dump["sqlite.orders"]}),
            "items": sum(row["items"] or 0 for row in self.dump["sqlite.orders"]),
            "dollars": cents / 100,
            "paid": count["Shipped"] + count["Rejected"],
            "payment_failed": count["PaymentFailed"],
            "labels": count["Shipped"],
            "dead_lettered": len({line["payload"].get("order_id") for line in self.dump["shipping-dead"]}),
            "retried": len(tried),
            "out_of_order": self.out_of_order,
            "lost": self.lost,
            "duplicates_absorbed": self.duplicates,
            "wrong": len(self.reasons),
        }

    def check_retried(self):
        due = {number for number in self.orders if number % FLAKY == 0}
        tried = {line["payload"].get("order_id") for line in self.dump["orders"] if line["ending"] == "retry"}
        if tried != due:
            self.wrong("other orders were retried than those divisible by", FLAKY)


def check(orders, dump):
    result = Check(orders, dump)
    result.check_retried()
    return result


def simulated():
    """A run as it must be, of a few hundred orders."""
    orders = {}
    for number in range(1, 301):
        items, cents = (45, 90000) if number % 50 == 0 else (1 + number % 5, 0 if number % 40 == 1 else 1100 + number)
        orders[number] = {"customer_id": f"{number % 23:05}", "date": "1997-01-01", "items": items, "cents": cents}
    dump = {channel: [] for channel in RECEIVERS} | {"sqlite.orders": [], "sqlite.seen": [], "sqlite.outbox": []}

    def deliver(channel, payload, order, ident):
        for receiver in RECEIVERS[channel]:
            endings = ["done"]
            if receiver == "payment" and payload["order_id"] % FLAKY == 0:
                endings = ["retry", "done"]
            if receiver == "shipping" and fate(order) == "Rejected":
                endings = ["rejected"]
            for attempt, ending in enumerate(endings, 1):
                seq = len(dump[channel]) + 1
                line = {"seq": seq, "receiver": receiver, "ending": ending, "key": order["customer_id"], "id": ident}
                line |= {"partition": "0", "position": ident, "attempt": attempt, "payload": payload}
                dump[channel].append(line)
            if receiver.startswith("management"):
                dump["sqlite.seen"].append({"channel": receiver, "id": ident, "deliveries": 1})

    change = 0
    for number, order in orders.items():
        end = fate(order)
        for channel in ("orders", "payments", "shipments", "shipping-dead"):
            if payload := payload_of(channel, number, order):
                deliver(channel, payload, order, f"{channel}/{number}")
        for status in ["Placed", end] if end == "PaymentFailed" else ["Placed", "Paid", end]:
            change += 1
            payload = {"event": "OrderStatusUpdated", "order_id": number, "status": status, "change": change}
            deliver("status", payload, order, f"status/{change}")
        row = {"order_id": number, **order, "paid": int(end != "PaymentFailed"), "status": end, "rejected": None}
        row |= {"label": f"CD-{number:06}" if end == "Shipped" else None}
        dump["sqlite.orders"].append(row | ({"rejected": 1} if end == "Rejected" else {}))
    return orders, dump


def damages():
    """Every kind of damage: a name, and what does it to a good dump."""

    def renumber(lines):
        for seq, line in enumerate(lines, 1):
            line["seq"] = seq

    def drop(channel):
        def damage(dump):
            lines = dump[channel]
            ident = lines[len(lines) // 2]["id"]  # all deliveries of it, to all receivers
            lines[:] = [line for line in lines if line["id"] != ident]
            dump["sqlite.seen"] = [row for row in dump["sqlite.seen"] if row["id"] != ident]
            renumber(lines)
        return damage

    def swap(channel):
        def damage(dump):
            lines, first = dump[channel], {}
            deliveries = Counter((line["receiver"], line["id"]) for line in lines)
            for index, line in enumerate(lines):
                who = line["receiver"], line["key"]
                if deliveries[line["receiver"], line["id"]] > 1:
                    first.pop(who, None)
                elif who in first:
                    lines[first[who]], lines[index] = line, lines[first[who]]
                    return renumber(lines)
                else:
                    first[who] = index
            raise AssertionError(f"nothing to swap on {channel}")
        return damage

    def edit(channel, field, value):
        def damage(dump):
            line = next(line for line in dump[channel] if field in line["payload"])
            line["payload"][field] = value
        return damage

    def double(dump, ident):
        lines = dump["shipping-dead"]
        lines.append(lines[0] | {"id": ident(lines[0])})
        renumber(lines)

    def line_of(field, value, channel="payments"):
        return lambda dump: dump[channel][3].update({field: value})

    def row_of(table, field, value):
        return lambda dump: dump["sqlite." + table][3].update({field: value})

    for channel in RECEIVERS:
        yield f"a message of {channel} is missing", drop(channel)
        yield f"a line of {channel} is missing", lambda dump, channel=channel: dump[channel].pop(0)
    for channel in ("orders", "payments", "shipments", "status"):
        yield f"two messages of a customer are swapped on {channel}", swap(channel)
    yield "an amount is another on orders", edit("orders", "cents", 1)
    yield "an amount is another on payments", edit("payments", "cents", 1)
    yield "a label is another", edit("shipments", "label", "CD-0")
    yield "a status is another", edit("status", "status", "Shipped")
    yield "a status is unknown", edit("status", "status", "Lost")
    yield "an order is unknown", edit("payments", "order_id", 10**9)
    yield "a dead letter is doubled", lambda dump: double(dump, lambda line: line["id"])
    yield "a dead letter is doubled under another id", lambda dump: double(dump, lambda line: "another")
    yield "a dead letter is of an order that fits", lambda dump: dump["shipping-dead"].append(
        next(line for line in dump["payments"] if line["payload"].get("items", 99) < TOO_MANY)
        | {"receiver": "management-dead", "seq": len(dump["shipping-dead"]) + 1})
    yield "a key is another", line_of("key", "nobody")
    yield "an id is another's", lambda dump: dump["payments"][3].update(id=dump["payments"][-1]["id"])
    yield "an ending is another", line_of("ending", "rejected", "orders")
    yield "a retry is missing", lambda dump: (
        dump["orders"].remove(next(line for line in dump["orders"] if line["ending"] == "retry")),
        renumber(dump["orders"]))
    yield "the database has another amount", row_of("orders", "cents", 1)
    yield "the database has another status", row_of("orders", "status", "Placed")
    yield "the database lacks an order", lambda dump: dump["sqlite.orders"].pop()
    yield "the database counts more deliveries", row_of("seen", "deliveries", 7)
    yield "a change was not told", lambda dump: dump["sqlite.outbox"].append({"change": 1})


def self_test(orders, dump):
    good = check(orders, dump)
    missed = [] if not good.reasons else ["the good dump does not pass: " + good.reasons[0]]
    count = 0
    for name, damage in damages():
        damaged = {channel: copy.deepcopy(lines) for channel, lines in dump.items()}
        damage(damaged)
        count += 1
        if not check(orders, damaged).reasons:
            missed.append("not found: " + name)
    print(json.dumps({"damages": count, "found": count - len(missed)}))
    return missed


def main(arguments):
    apart = arguments[:1] == ["--apart"]
    if apart:
        arguments = arguments[1:]
        for receivers in RECEIVERS.values():
            receivers[:] = [receiver for receiver in receivers if receiver not in ("payment", "shipping")]
    testing = arguments[:1] == ["--self-test"]
    paths = arguments[1:] if testing else arguments
    if len(paths) != 2 and not (testing and not paths):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        orders, dump = (read_orders(paths[0]), read_dump(paths[1])) if paths else simulated()
    except (OSError, sqlite3.Error, ValueError, KeyError) as error:
        print(f"check.py: cannot read: {error}", file=sys.stderr)
        return 1
    if testing:
        reasons = self_test(orders, dump)
    else:
        result = Check(orders, dump) if apart else check(orders, dump)
        reasons = result.reasons
        print(json.dumps(result.summary()))
    for reason in reasons[:20]:
        print("check.py:", reason, file=sys.stderr)
    if len(reasons) > 20:
        print(f"check.py: and {len(reasons) - 20} more", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
