#!/usr/bin/env python3
"""Runs `orders` with payment and shipping in three processes of their groups, of which one is killed, one is frozen for
longer than its lease, and one is told to stop. Nothing may be lost or out of order.

usage: processes.py ORDERS-PROGRAM LOG-SERVER ORDERS.csv

The log is served by LOG-SERVER, and the groups' rows are files. Exits 1 with the reason if the run is not right.
Needs nothing but Python's standard library.
"""
import csv
import json
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
EXPIRY = 3  # seconds


def configuration(address, leases):
    text = (HERE / "strait.toml").read_text()
    channels = text.partition("# ---- what services send")[2].replace(".on.memory]", ".on.served]")
    # One at a time, so that the frozen process goes on before all is done.
    channels = channels.replace("[receivers.payment]", "[receivers.payment]\nin_flight = 1")
    shares = f'leases = "file:{leases}"\nexpiry = "{EXPIRY}s"'
    channels = re.sub(r"(?m)^group = .*$", lambda group: f"{group[0]}\n{shares}", channels)
    return f"""
provider = "served"
[connections.served]
address = "{address}"
""" + channels


def more(orders, path):
    """The orders three times over, so that there is something left to do when the frozen process goes on."""
    with open(orders, newline="") as file:
        rows = list(csv.reader(file))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        for round in range(3):
            writer.writerows([str(int(row[0]) + round * len(rows)), *row[1:]] for row in rows[1:])
    return path


class Member:
    """A process that only pays and ships. What it says goes to one queue, with its name."""

    def __init__(self, name, command, said):
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, args=(said,), daemon=True)
        self.reader.start()

    def read(self, said):
        for line in self.process.stdout:
            said.put((self.name, int(line)))

    def end(self, by):
        self.process.send_signal(by)
        return self.process.wait(timeout=60)


def until(said, name, count):
    """Waits until a process has handled so many."""
    while True:
        who, done = said.get(timeout=120)
        if who == name and done >= count:
            return


def configured(files):
    return [argument for file in files for argument in ("--config", file)]


def joining(program, files):
    """The command of a member."""
    return [program, "--join", "--members", "1", *configured(files)]


def place(program, orders, files, dump, members=3):
    """The process that places the orders, and looks after them."""
    command = [program, "--apart", "--json", "--orders", orders, "--dump", dump, "--members", str(members)]
    command += configured(files)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def judge(main, orders, dump):
    """Waits until all orders are done. What was wrong with the run, or None."""
    line, _ = main.communicate(timeout=300)
    print(line.strip())
    if main.returncode != 0:
        return f"the run ended with {main.returncode}"
    report = json.loads(line)
    if report["lost"] or report["out_of_order"]:
        return "something is lost or out of order"
    checked = subprocess.run([sys.executable, HERE / "check.py", "--apart", orders, dump], check=False)
    return None if checked.returncode == 0 else "the check of the dump failed"


def end(processes):
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def run(program, server, orders, folder):
    served = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    members = []
    try:
        config, dump, orders = folder / "strait.toml", folder / "dump", more(orders, folder / "orders.csv")
        config.write_text(configuration(served.stdout.readline().strip(), folder / "leases"))
        said = queue.Queue()
        join = joining(program, [config])
        members = [Member(name, join, said) for name in ("killed", "frozen", "stopped")]
        killed, frozen, stopped = members
        main = place(program, orders, [config], dump)
        until(said, "killed", 100)
        killed.end(signal.SIGKILL)
        until(said, "frozen", 100)
        frozen.process.send_signal(signal.SIGSTOP)
        until(said, "stopped", 100)
        status = stopped.end(signal.SIGTERM)
        if status != 0:
            return f"the process that was told to stop ended with {status}"
        if main.poll() is not None:
            return "the orders were done before anything had gone wrong"
        members.append(Member("successor", join, said))
        time.sleep(EXPIRY + 2)  # for longer than its lease
        if main.poll() is not None:
            return "the orders were done before the frozen process went on"
        frozen.process.send_signal(signal.SIGCONT)
        if reason := judge(main, orders, dump):
            return reason
        for member in (frozen, members[-1]):
            status = member.end(signal.SIGTERM)
            if status != 0:
                return f"the {member.name} process ended with {status}"
        return None
    except (queue.Empty, subprocess.TimeoutExpired):
        return "it does not go on"
    finally:
        end([member.process for member in members] + [served])


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        reason = run(*arguments, Path(folder))
    if reason:
        print("processes.py:", reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
