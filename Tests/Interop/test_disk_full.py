"""A disk that fills up: sends are refused with the reason, pulls go on, and all is well again when there is space."""
import os
import re
import subprocess

import pytest
from load import Ledger, check, end_load, run_load
from wire import Cluster, eventually, offset_of

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(directory):
    """A file system of 64 MiB of its own."""
    path = directory / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs to mount a tmpfs: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path, leave):
    """A file that leaves so many bytes free."""
    s = os.statvfs(path)
    size = s.f_bavail * s.f_frsize - leave
    with open(path / "filler", "wb") as f:
        os.posix_fallocate(f.fileno(), 0, size)
    return path / "filler"


def send_one(cluster, ledger, count=[0]):
    """One large message; its answer, and what that means in the ledger."""
    count[0] += 1
    name = b"probe-%d" % count[0]
    ledger.sent.add(name)
    with cluster.broker() as c:
        r = cluster.send(c, ledger.topic, name + b"|" + b"x" * 60_000, expect=None)
    if r.code == 0:
        ledger.acknowledged[name] = (0, int(r.ext["queueOffset"]), offset_of(r.ext["msgId"]))
    else:
        ledger.refused[name] = r.code
    return r


def send_until_refused(cluster, broker, ledger, label):
    """From several connections, then one by one; the answer that refuses."""
    before = len(ledger.refused)
    senders = run_load(broker.address, ledger, label, connections=3, window=8, sizes=(20_000, 60_000), acknowledged=False)
    eventually(lambda: len(ledger.refused) > before or any(not s.is_alive() for s in senders), 60, "a send to be refused")
    end_load(senders, stop=True)
    broker.check()
    return eventually(lambda: (r := send_one(cluster, ledger)).code != 0 and r, 20, "a send to be refused")


@pytest.mark.parametrize("how", ["watched", "unwatched"])
def test_full_disk(small_disk, start, how):
    """Watched: diskSpaceWarningLevelRatio stops sends in time. Unwatched (100 %): the disk is really full, writes fail."""
    ratio = 90 if how == "watched" else 100
    server = start.nameserver()
    broker = start.broker([server], storePathRootDir=small_disk / "store", mappedFileSizeCommitLog=4 * MEBIBYTE, cleanResourceInterval=100,
                          diskSpaceWarningLevelRatio=ratio, diskSpaceCleanForciblyRatio=ratio, diskMaxUsedSpaceRatio=80)
    cluster = Cluster(server.address)
    cluster.create_group("CG_full")
    ledger = Ledger(cluster.create_topic("Filling"), 4)
    senders = run_load(broker.address, ledger, "early")
    eventually(lambda: len(ledger.acknowledged) > 500, 20, "500 messages")
    end_load(senders, stop=True)
    filler = fill(small_disk, 12 * MEBIBYTE)
    r = send_until_refused(cluster, broker, ledger, "one")
    assert re.search("disk|space", r.remark, re.I), r
    check(cluster, ledger, "CG_full", create_group=False)

    os.remove(filler)
    eventually(lambda: send_one(cluster, ledger).code == 0, 20, "sends to be taken again, without a restart")
    senders = run_load(broker.address, ledger, "late")
    end_load(senders, stop=True)
    check(cluster, ledger, "CG_full", thorough=True)

    fill(small_disk, 6 * MEBIBYTE)
    send_until_refused(cluster, broker, ledger, "two")
    broker.kill()
    broker.start()                     # on the full disk
    cluster = Cluster(server.address)
    check(cluster, ledger, "CG_full", thorough=True, create_group=False)
    broker.stop()
