#!/usr/bin/env python3
"""The crash test for as long as one likes: python Tests/Interop/crash_soak.py --rounds 200 [--seed N] [--sync] [--directory D]

Binaries come from ROCKETMQ_BIN, else from .build/release. Ends with 0 when nothing acknowledged was ever lost; else it
leaves the store where it is and says where."""
import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
from crash import SOON, CrashRun  # noqa: E402
from servers import Broker, NameServer  # noqa: E402
from wire import TX_ROLLBACK  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=200)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--seconds", type=float, default=0.5, help="the broker is killed within so long")
    p.add_argument("--connections", type=int, default=4)
    p.add_argument("--sync", action="store_true", help="flushDiskType=SYNC_FLUSH")
    p.add_argument("--directory", type=Path, help="where to work; a new directory under the system's for temporary ones otherwise")
    a = p.parse_args()
    directory = a.directory or Path(tempfile.mkdtemp(prefix="rocketmq-soak-"))
    nameserver = NameServer(directory / "namesrv").start()
    broker = Broker(directory / "broker", [nameserver], flushDiskType="SYNC_FLUSH" if a.sync else "ASYNC_FLUSH",
                    mappedFileSizeCommitLog=1 << 20, mappedFileSizeConsumeQueue=4000, fileReservedTime=1000, **SOON)
    began, passed = time.monotonic(), False
    try:
        broker.start()
        run = CrashRun(nameserver, broker, a.seed, connections=a.connections)
        for n in range(1, a.rounds + 1):
            found = run.clean_round() if run.random.random() < 0.1 else run.round(a.seconds)
            if n % 10 == 0 or n == a.rounds:
                print(f"round {n}: {len(run.ledger.acknowledged)} acknowledged, {found} stored, {len(run.topics)} topics, "
                      f"{time.monotonic() - began:.0f} s", flush=True)
        run.check(thorough=True)
        passed = True
        late = run.late
        print(f"all there after {a.rounds} rounds (seed {a.seed}): {len(run.ledger.acknowledged)} messages, {len(run.topics)} topics, "
              f"{run.late_found} of {len(late.acknowledged)} acknowledged delayed or half messages and some that were not, once each, "
              f"none of {list(late.outcomes.values()).count(TX_ROLLBACK)} rolled back")
    except AssertionError as e:
        print(f"FAILED in round {run.rounds} (seed {a.seed}): {e}\nthe store is in {broker.store}", file=sys.stderr)
        print("\n".join(broker.lines[-60:]), file=sys.stderr)
    finally:
        broker.forget()
        nameserver.forget()
        if passed and not a.directory:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
