"""A disk that fills up: sends are refused with the reason, pulls go on, and all is well again when there is space."""
import errno
import os
import re
import shutil
import subprocess

import pytest
from load import Ledger, check, end_load, run_load
from servers import StartError
from wire import Cluster, eventually, messages, offset_of

MEBIBYTE = 1 << 20


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request, directory):
    """A file system of 64 MiB of its own."""
    path = directory / "disk"
    path.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    else:
        image = directory / "image"
        with open(image, "wb") as f:
            f.truncate(72 * MEBIBYTE)              # with what the file system needs for itself
        mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
        if not mkfs:
            pytest.skip("needs mkfs.ext4")
        subprocess.run([mkfs, "-q", "-m", "0", str(image)], check=True)
        command = ["mount", "-o", "loop", str(image), str(path)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs to mount a file system: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path, leave):
    """A file that leaves so many bytes free."""
    s = os.statvfs(path)
    left = s.f_bavail * s.f_frsize - leave
    with open(path / "filler", "wb", buffering=0) as f:
        for piece in (MEBIBYTE, 4096):             # with room for what the file system notes of the file
            while left > 0:
                try:
                    left -= f.write(bytes(min(piece, left)))
                except OSError as e:
                    assert e.errno == errno.ENOSPC, e
                    break
        os.fsync(f.fileno())
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
    broker.stop(code=None)             # that there is no room for its tables either is not hidden
    assert broker.process.returncode == 0 or any("not cleanly" in line and "No space left" in line for line in broker.lines)


@pytest.mark.parametrize("gone", ["nothing", "consumequeue", "index", "queues", "flushed"])
@pytest.mark.parametrize("small_disk, killed_at_once", [("tmpfs", True), ("ext4", False)], indirect=["small_disk"])
def test_starts_where_no_byte_is_left(small_disk, start, gone, killed_at_once):
    """Killed, and what can be made anew is gone: all is served, though nothing can be written; sends are taken when there is room."""
    server = start.nameserver()
    broker = start.broker([server], storePathRootDir=small_disk / "store", mappedFileSizeCommitLog=4 * MEBIBYTE, cleanResourceInterval=100,
                          maxHashSlotNum=1000, maxIndexNum=20_000)
    cluster = Cluster(server.address)
    cluster.create_group("CG_full")
    ledger = Ledger(cluster.create_topic("Filling"), 4)
    senders = run_load(broker.address, ledger, "early")
    eventually(lambda: len(ledger.acknowledged) > 300, 20, "300 messages")
    end_load(senders, stop=True)
    if not killed_at_once:                 # with its files on the disk
        broker.stop()
        broker.start()
        send_one(cluster, ledger)
    broker.kill()
    path = small_disk / "store" / gone
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    filler = fill(small_disk, 0)
    for _ in range(2):
        broker.start()
        check(cluster, ledger, "CG_full", thorough=True, create_group=False)
        eventually(lambda: send_one(cluster, ledger).code != 0, 20, "a send to be refused")
        broker.kill()
    broker.start()
    os.remove(filler)
    eventually(lambda: send_one(cluster, ledger).code == 0, 20, "sends to be taken again, without a restart")
    check(cluster, ledger, "CG_full", thorough=True, create_group=False)
    broker.stop()
    broker.start()
    check(cluster, ledger, "CG_full", thorough=True, create_group=False)
    assert any("after a clean stop" in line for line in broker.lines[broker.mark:]), broker.lines
    broker.stop()


def test_old_files_go_before_a_small_disk_is_full(small_disk, start):
    """What the thresholds promise on a disk of 64 MiB: four times as much is sent, nothing is refused, the newest is there."""
    server = start.nameserver()
    broker = start.broker([server], storePathRootDir=small_disk / "store", mappedFileSizeCommitLog=2 * MEBIBYTE, cleanResourceInterval=100,
                          maxHashSlotNum=1000, maxIndexNum=20_000, cleanFileForciblyEnable="true", diskMaxUsedSpaceRatio=40,
                          diskSpaceCleanForciblyRatio=50, diskSpaceWarningLevelRatio=95)
    cluster = Cluster(server.address)
    topic = cluster.create_topic("Flowing", queues=1)
    # Not when the disk is full to the brim for a moment.
    cluster.create_group("CG_flow")
    with cluster.broker() as c:
        for i in range(4 * 64 * MEBIBYTE // 60_000):
            # What is refused is sent again: files go at a look at the disk, and this sends as fast as it can.
            eventually(lambda: cluster.send(c, topic, b"%d|" % i + b"x" * 60_000, expect=None).code == 0, 30, "a send to be taken", every=0.1)
        last = int(c.call(30, {"topic": topic, "queueId": "0"}).ext["offset"]) - 1
        first = int(c.call(31, {"topic": topic, "queueId": "0"}).ext["offset"])
        assert first > 0 and last > first, (first, last)
        assert messages(cluster.pull(c, "CG_flow", topic, 0, last).body)[0].body.startswith(b"%d|" % i)
    broker.wait_for(r"WARN.* is deleted, the disk of .* is \d+ % full, above the 50 % of diskSpaceCleanForciblyRatio", 10)
    # Nobody sends any more, so that files go until there is room: the stop has tables to write.
    eventually(lambda: shutil.disk_usage(small_disk).free > 16 * MEBIBYTE, 30, "old files to go")
    broker.stop()


def test_free_bytes_refuse_sends_and_room_takes_them_again(small_disk, start):
    server = start.nameserver()
    broker = start.broker([server], storePathRootDir=small_disk / "store", mappedFileSizeCommitLog=4 * MEBIBYTE, cleanResourceInterval=100,
                          maxHashSlotNum=1000, maxIndexNum=20_000, diskMinFreeBytes=16 * MEBIBYTE)
    cluster = Cluster(server.address)
    topic = cluster.create_topic("Bytes", queues=1)
    with cluster.broker() as c:
        cluster.send(c, topic, b"first")
        filler = fill(small_disk, 10 * MEBIBYTE)
        r = eventually(lambda: (r := cluster.send(c, topic, b"more", expect=None)).code != 0 and r, 20, "a send to be refused")
        assert r.code == 14 and "diskMinFreeBytes" in r.remark and "free some" in r.remark, r
        cluster.create_group("CG_bytes")
        assert messages(cluster.pull(c, "CG_bytes", topic, 0, 0).body)[0].body == b"first"
        os.remove(filler)
        eventually(lambda: cluster.send(c, topic, b"again", expect=None).code == 0, 20, "sends to be taken again")
    broker.wait_for("messages are taken again", 10)
    broker.stop()


def test_mqall_on_a_full_disk(small_disk, start, directory):
    """No room at the start: it says where and what to do; and starts when there is."""
    all_in_one = start.all(ready=False, mappedFileSizeCommitLog=1 * MEBIBYTE)
    (small_disk / "data").mkdir()
    all_in_one.directory.mkdir(exist_ok=True)
    (all_in_one.directory / "data").symlink_to(small_disk / "data")
    filler = fill(small_disk, 0)
    with pytest.raises(StartError) as e:
        all_in_one.start()
        cluster = Cluster(all_in_one.nameserver)               # should it have started: it does not take what it cannot store
        with cluster.broker() as c:
            r = cluster.send(c, "TBW102", b"x", expect=None)
            assert r.code != 0
            raise StartError(f"ended with 1: {r.remark}")
    assert "ended with 1" in str(e.value) and "data" in str(e.value) and ("No space left" in str(e.value) or "full" in str(e.value)), e.value
    if all_in_one.running():
        all_in_one.kill()
    os.remove(filler)
    all_in_one.start()
    cluster = Cluster(all_in_one.nameserver)
    topic = cluster.create_topic("Room")
    with cluster.broker() as c:
        cluster.send(c, topic, b"x")
    all_in_one.stop()
