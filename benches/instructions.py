#!/usr/bin/env python3
"""Counts instructions and allocations a message, under Valgrind.

    cargo build --release --package strait-benches
    python3 benches/instructions.py [--check] [--allocations] [CASE ...]

Each case runs twice with different numbers of messages, so that whatever happens once cancels out of the difference.
The program is target/release/one (or below CARGO_TARGET_DIR). Allocations are blocks as DHAT counts them: a block that
grows in place is one. --check fails if a case needs more instructions than its goal and 5 %.
"""
import os
import re
import subprocess
import sys
import tempfile

# Multiples of 256, after which the last message is looked for.
FEW, MANY = 10_240, 40_960

# Instructions a message. From the goals for the memory backend: receive -> handler -> ack, and from a sender on.
GOALS = {
    "stored-log": 850,
    "stored-queue": 1100,
    "stored-log-keyed": 1100,
    "stored-queue-keyed": 1400,
    "stored-log-pool": 1080,
    "stored-queue-pool": 1350,
    "log": 1050,
    "queue": 1480,
    "e2e-log": 1900,
    "e2e-log-keyed": 2450,
    "e2e-queue": 2250,
    "e2e-queue-keyed": 3000,
}
CASES = [
    "mpsc", "mpsc-many", "kanal", "omniqueue", "ruststream", "stored-ruststream", "stored-ruststream-pool",
    "stored-log", "stored-log-keyed", "stored-log-unique", "stored-log-batch", "stored-log-keyed-batch",
    "stored-log-pool",
    "stored-queue", "stored-queue-keyed", "stored-queue-unique", "stored-queue-batch", "stored-queue-keyed-batch",
    "stored-queue-pool",
    "log", "queue", "e2e-log", "e2e-log-keyed", "e2e-queue", "e2e-queue-keyed",
]
ONE = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "one")


def valgrind(tool, case, messages, pattern):
    with tempfile.TemporaryDirectory() as folder:
        out = f"--{tool}-out-file={folder}/out"
        run = subprocess.run(
            ["valgrind", f"--tool={tool}", out, ONE, case, str(messages)], capture_output=True, text=True, check=False
        )
    found = re.search(pattern, run.stderr)
    if run.returncode or not found:
        sys.exit(f"{case}: valgrind failed\n{run.stderr}")
    return int(found[1].replace(",", ""))


def per_message(tool, case, pattern):
    few, many = (valgrind(tool, case, messages, pattern) for messages in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def main():
    options = {argument for argument in sys.argv[1:] if argument.startswith("--")}
    unknown = options - {"--check", "--allocations"}
    if unknown:
        sys.exit(__doc__)
    cases = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    cases = cases or (list(GOALS) if "--check" in options else CASES)
    missed = []
    print(f"{'case':<26} {'instructions':>12} {'goal':>6} {'allocations':>12}")
    for case in cases:
        instructions = per_message("callgrind", case, r"Collected : (\d+)")
        goal = GOALS.get(case)
        allocations = ""
        if "--allocations" in options:
            allocations = f"{per_message('dhat', case, r'Total: +[0-9,]+ bytes in ([0-9,]+) blocks'):.3f}"
        print(f"{case:<26} {instructions:>12.0f} {goal or '':>6} {allocations:>12}", flush=True)
        if goal and instructions > goal * 1.05:
            missed.append(case)
    if "--check" in options and missed:
        sys.exit(f"above the goal and 5 %: {', '.join(missed)}")


if __name__ == "__main__":
    main()
