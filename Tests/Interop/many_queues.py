#!/usr/bin/env python3
"""What very many queues cost: python Tests/Interop/many_queues.py [--topics 10000] [--queues 8] [--rounds 3] [--seconds 25]

Two brokers: one with a topic of 8 queues, one with --topics topics of --queues queues. Measures the start of the second after
a clean stop, also when the system has forgotten its files (all files, where we may make it), its memory, and in turns the rate of
sends to each, while the other is stopped (SIGSTOP), over all of its queues.
Rounds should be longer than the 20 s after which 80,000 queues are written behind. Prints a line a measurement and the medians;
ends with 0 when they keep to --start, --memory and --ratio. Binaries come from ROCKETMQ_BIN, else from .build/release."""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
from servers import Broker, NameServer, binary, run  # noqa: E402


def load(broker, topic, topics, queues, seconds, warm_up=2, **more):
    args = {"brokerAddr": broker.address, "topic": topic, "topics": topics, "queues": queues, "seconds": seconds, "warmUp": warm_up, **more}
    words = [w for name, value in args.items() for w in (f"--{name}", value)]
    result = run("mqbench", "load", *words, "--json", timeout=seconds + warm_up + 60)
    if result.returncode != 0:
        raise SystemExit(f"mqbench load: {result.stdout}{result.stderr}")
    return json.loads(result.stdout)


def resident(broker):
    """MiB: of its own, and with pages of files."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{broker.pid}/status").read_text().splitlines())
    return [int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS")]


def cpu_seconds(broker):
    fields = Path(f"/proc/{broker.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def forget_files(broker):
    """Makes the system forget what it has of files; of the store's alone where we are not allowed to."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        for directory, _, names in os.walk(broker.store):
            for name in names:
                descriptor = os.open(os.path.join(directory, name), os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def start(broker, is_cold=False):
    """Seconds of a start after a clean stop."""
    broker.stop(timeout=120)
    if is_cold:
        forget_files(broker)
    began = time.monotonic()
    broker.start(timeout=120)
    return time.monotonic() - began


def made(broker):
    """How many queues have files."""
    topics = [d for d in os.scandir(broker.store / "consumequeue") if d.name.startswith("Many")]
    return sum(len(os.listdir(d)) for d in topics)


def measure(broker, other, topic, topics, queues, a):
    os.kill(other.pid, signal.SIGSTOP)
    try:
        before = cpu_seconds(broker)
        began = time.monotonic()
        found = load(broker, topic, topics, queues, a.seconds, connections=a.connections, depth=a.depth)
        busy = (cpu_seconds(broker) - before) / (time.monotonic() - began)
    finally:
        os.kill(other.pid, signal.SIGCONT)
    return found["messagesPerSecond"], found["p99Microseconds"], busy


def kills(broker, a):
    """Starts after kill -9 in the middle of sends to all queues."""
    took = []
    for n in range(a.kills):
        words = {"brokerAddr": broker.address, "topic": "Many", "topics": a.topics, "queues": a.queues, "seconds": 600, "warmUp": 0,
                 "connections": a.connections, "depth": a.depth}
        sender = subprocess.Popen([str(binary("mqbench")), "load", *(w for name, value in words.items() for w in (f"--{name}", str(value)))],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(a.seconds)                              # the kill comes at no particular moment
            loaded = resident(broker)[0]
            broker.kill()
        finally:
            sender.kill()
            sender.wait()
        began = time.monotonic()
        broker.start(timeout=300)
        took.append(time.monotonic() - began)
        own, all_pages = resident(broker)
        said = [line.split("  ", 1)[-1] for line in broker.lines[broker.mark:] if "recovering" in line or "store opened" in line]
        print(f"kill {n + 1} after {a.seconds} s of sends, {loaded:.0f} MiB: start {took[-1]:.2f} s, {own:.0f} MiB of its own, "
              f"{all_pages:.0f} with files; {'; '.join(said[-3:])}", flush=True)
    print(f"start after kill -9: {statistics.median(took):.2f} s (median of {len(took)}, {min(took):.2f} to {max(took):.2f})")
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--topics", type=int, default=10_000)
    p.add_argument("--queues", type=int, default=8)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--starts", type=int, default=3)
    p.add_argument("--seconds", type=int, default=25)
    p.add_argument("--connections", type=int, default=16)
    p.add_argument("--depth", type=int, default=32)
    p.add_argument("--start", type=float, default=2, help="seconds that a start may take")
    p.add_argument("--memory", type=float, default=300, help="MiB of its own that the broker may need")
    p.add_argument("--kills", type=int, default=0, help="instead of the rates: kills under load (-9), and the starts after them")
    p.add_argument("--ratio", type=float, default=0.9, help="least rate, as a part of that with 8 queues")
    p.add_argument("--directory", type=Path, help="where to work; a new directory under the system's for temporary ones otherwise")
    a = p.parse_args()
    directory = a.directory or Path(tempfile.mkdtemp(prefix="rocketmq-queues-"))
    # Files of their usual sizes.
    sizes = {"mappedFileSizeCommitLog": 1 << 30, "mappedFileSizeConsumeQueue": 6_000_000}
    nameserver = NameServer(directory / "namesrv").start()
    few, many = (Broker(directory / name, [nameserver], label=name, brokerName=name, **sizes) for name in ("few", "many"))
    try:
        for broker in (few, many):
            broker.start(timeout=120)
        load(few, "Few", 1, 8, 1)
        began = time.monotonic()
        pairs = a.topics * a.queues
        for _ in range(100):
            # The first sends make topics.
            load(many, "Many", a.topics, a.queues, 1, warm_up=5 if pairs > 10_000 else 1, connections=4, depth=16)
            if made(many) == pairs:
                break
        else:
            raise SystemExit(f"only {made(many)} of {pairs} queues have messages")
        print(f"{pairs} queues made in {time.monotonic() - began:.0f} s", flush=True)
        starts, memory = [], []
        for _ in range(a.starts):
            starts.append(start(many))
            memory.append(resident(many)[0])
            print(f"start {starts[-1]:.2f} s, {memory[-1]:.0f} MiB", flush=True)
        if a.kills:
            return kills(many, a)
        rates = {"few": [], "many": []}
        for n in range(a.rounds):
            for name, broker, other, work in (("few", few, many, ("Few", 1, 8)), ("many", many, few, ("Many", a.topics, a.queues))):
                rate, p99, busy = measure(broker, other, *work, a)
                rates[name].append(rate)
                own, all_pages = resident(broker)
                if broker is many:
                    memory.append(own)
                print(f"round {n + 1} {name}: {rate:.0f} sends/s, p99 {p99:.0f} us, {busy:.2f} processors, "
                      f"memory {own:.0f} MiB of its own, {all_pages:.0f} with files", flush=True)
        # Last: the first sends after one are slower, since what is written to a queue comes behind what the disk has of it.
        cold = []
        for _ in range(a.starts):
            cold.append(start(many, is_cold=True))
            print(f"start without files in memory {cold[-1]:.2f} s", flush=True)
        warm, cold, most = statistics.median(starts), statistics.median(cold), max(memory)
        ratio = statistics.median(m / f for m, f in zip(rates["many"], rates["few"]))
        good = max(warm, cold) < a.start and most < a.memory and ratio >= a.ratio
        print(f"{pairs} queues: start {warm:.2f} s, without files in memory {cold:.2f} s (medians of {a.starts}), memory at most {most:.0f} MiB, "
              f"sends at {ratio:.2f} of the rate with 8 queues (median of {a.rounds}): {'good' if good else 'NOT GOOD'}")
        return 0 if good else 1
    finally:
        for server in (few, many, nameserver):
            server.forget()
        if not a.directory:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
