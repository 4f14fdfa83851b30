#!/usr/bin/env python3
"""Runs `orders` on a service, with payment and shipping in two processes, of which one is killed in the middle and not
replaced: what it held, the other gets after its lease. Nothing may be lost or out of order.

usage: killed.py ORDERS-PROGRAM ORDERS.csv COUNT SERVICE.toml

Sends COUNT orders, of the customers with most: order matters to nobody else. SERVICE.toml is added to strait.toml, and finds
the service by the environment's variables.
Exits 1 with the reason if the run is not right. Needs nothing but Python's standard library.
"""
import csv
import os
import queue
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path

from processes import HERE, Member, end, joining, judge, place, until


def some(orders, count, path):
    with open(orders, newline="") as file:
        header, *rows = csv.reader(file)
    often = Counter(row[1] for row in rows)
    rows = sorted(rows, key=lambda row: -often[row[1]])[:count]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(sorted(rows, key=lambda row: int(row[0])))
    return path


def run(program, orders, count, service, folder):
    orders, dump, files = some(orders, count, folder / "orders.csv"), folder / "dump", [HERE / "strait.toml", service]
    # Leases so short that the other process can tell that this one is dead, long before all is done.
    os.environ |= {"ORDERS_NAME": f"orders-{uuid.uuid4().hex}", "ORDERS_WAIT": "1s", "ORDERS_LEASE": "10s"}
    # Where groups keep rows, on a service that has none itself.
    os.environ["ORDERS_LEASES"] = f"file:{folder / 'leases'}"
    said = queue.Queue()
    processes = []
    try:
        main = place(program, orders, files, dump, members=1)
        processes.append(main)
        members = [Member(name, joining(program, files), said) for name in ("killed", "other")]
        processes += [member.process for member in members]
        killed, other = members
        until(said, "killed", count // 10)
        killed.end(signal.SIGKILL)
        if main.poll() is not None:
            return "the orders were done before anything had gone wrong"
        if reason := judge(main, orders, dump):
            return reason
        status = other.end(signal.SIGTERM)
        return f"the other process ended with {status}" if status != 0 else None
    except (queue.Empty, subprocess.TimeoutExpired):
        return "it does not go on"
    finally:
        end(processes)


def main(arguments):
    if len(arguments) != 4 or not arguments[2].isdecimal():
        print(__doc__, file=sys.stderr)
        return 2
    program, orders, count, service = arguments
    with tempfile.TemporaryDirectory() as folder:
        reason = run(program, orders, int(count), service, Path(folder))
    if reason:
        print("killed.py:", reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
