#!/usr/bin/env python3
"""Runs `orders` on a service, with payment and shipping in two processes, of which one is killed in the middle and not
replaced: what it held, the other gets after its lease. Nothing may be lost or out of order.

usage: killed.py [--frozen] ORDERS-PROGRAM ORDERS.csv COUNT SERVICE.toml [EMULATOR HUBS.toml]

Sends COUNT orders, of the customers with most: order matters to nobody else. SERVICE.toml is added to strait.toml, and finds
the service by the environment's variables. EMULATOR is that of Event Hubs, which is started with these hubs.
With --frozen there is a third process, which is frozen for longer than its lease, and goes on before all is done.
Exits 1 with the reason if the run is not right. Needs nothing but Python's standard library.
"""
import contextlib
import csv
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
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


@contextlib.contextmanager
def served(emulator):
    """The emulator with its hubs, and the variable by which clients find it."""
    if not emulator:
        yield
        return
    program, hubs = emulator
    process = subprocess.Popen([program, "--config", hubs], stdout=subprocess.PIPE, text=True)
    try:
        # After where it listens, a connection string for each hub.
        first = next(line for line in process.stdout if line.startswith("Endpoint="))
        os.environ["EVENTHUBS_CONNECTION_STRING"] = first.strip().partition(";EntityPath=")[0]
        yield
    finally:
        end([process])


def slow(folder):
    """A configuration by which payment takes so long that a frozen process goes on before all is done."""
    path = folder / "slow.toml"
    path.write_text("[receivers.payment]\nin_flight = 1\n")
    return path


def run(program, orders, count, service, frozen, folder):
    orders, dump, files = some(orders, count, folder / "orders.csv"), folder / "dump", [HERE / "strait.toml", service]
    # Leases so short that the other process can tell that this one is dead, long before all is done.
    lease = 3 if frozen else 10  # seconds
    os.environ |= {"ORDERS_NAME": f"orders-{uuid.uuid4().hex}", "ORDERS_WAIT": "1s", "ORDERS_LEASE": f"{lease}s"}
    # Where groups keep rows, on a service that has none itself.
    os.environ["ORDERS_LEASES"] = f"file:{folder / 'leases'}"
    if frozen:
        files.append(slow(folder))
    said = queue.Queue()
    processes = []
    try:
        main = place(program, orders, files, dump, members=1)
        processes.append(main)
        names = ("killed", "other", "frozen") if frozen else ("killed", "other")
        members = [Member(name, joining(program, files), said) for name in names]
        processes += [member.process for member in members]
        killed, *others = members
        until(said, "killed", count // 10)
        killed.end(signal.SIGKILL)
        if frozen:
            until(said, "frozen", count // 10)
            members[-1].process.send_signal(signal.SIGSTOP)
            time.sleep(lease + 2)  # for longer than its lease
            if main.poll() is not None:
                return "the orders were done before the frozen process went on"
            members[-1].process.send_signal(signal.SIGCONT)
        if main.poll() is not None:
            return "the orders were done before anything had gone wrong"
        if reason := judge(main, orders, dump):
            return reason
        for member in others:
            status = member.end(signal.SIGTERM)
            if status != 0:
                return f"the {member.name} process ended with {status}"
        return None
    except (queue.Empty, subprocess.TimeoutExpired):
        return "it does not go on"
    finally:
        end(processes)


def main(arguments):
    frozen = arguments[:1] == ["--frozen"]
    arguments = arguments[1:] if frozen else arguments
    if len(arguments) not in (4, 6) or not arguments[2].isdecimal():
        print(__doc__, file=sys.stderr)
        return 2
    program, orders, count, service, *emulator = arguments
    with tempfile.TemporaryDirectory() as folder, served(emulator):
        reason = run(program, orders, int(count), service, frozen, Path(folder))
    if reason:
        print("killed.py:", reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
