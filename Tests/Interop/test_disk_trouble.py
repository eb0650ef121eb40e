"""Disks that fail, and places that cannot be a store: each time the error names path, cause and what to do, what was acknowledged
is there, and the broker goes on where it can."""
import errno
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from load import Ledger, check, end_load, run_load
from servers import AllInOne, StartError
from wire import Cluster, Command, eventually, messages, offset_of


@pytest.fixture(scope="session")
def shim(base):
    compiler = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
    if not compiler:
        pytest.skip("needs a C compiler")
    made = base / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, Path(__file__).parent / "support" / "faults.c", "-ldl"], check=True)
    return made


class Trouble:
    def __init__(self, path):
        self.path = path

    def begin(self, operation, number, part):
        beside = self.path.with_suffix(".new")
        beside.write_text(f"{operation} {number} {part}\n")
        beside.rename(self.path)

    def end(self):
        self.path.unlink()


@pytest.fixture
def troubled(start, shim, directory):
    """A nameserver, a broker whose file calls fail when told to, and how to tell it."""
    def begin(**settings):
        server = start.nameserver()
        broker = start.broker([server], ready=False, mappedFileSizeCommitLog=4 << 20, **settings)
        trouble = Trouble(directory / "faults")
        broker.wrapper = ["env", f"LD_PRELOAD={shim}", f"FAULTS_FILE={trouble.path}"]
        broker.start()
        return Cluster(server.address), broker, trouble
    return begin


def send_one(cluster, ledger, count=[0]):
    """One message; its answer, and what that means in the ledger."""
    count[0] += 1
    name = b"probe-%d" % count[0]
    ledger.sent.add(name)
    with cluster.broker() as c:
        r = cluster.send(c, ledger.topic, name + b"|" + b"x" * 200, expect=None)
    if r.code == 0:
        ledger.acknowledged[name] = (0, int(r.ext["queueOffset"]), offset_of(r.ext["msgId"]))
    else:
        ledger.refused[name] = r.code
    return r


def filled(cluster, broker, name, least=300):
    ledger = Ledger(cluster.create_topic(name), 4)
    senders = run_load(broker.address, ledger, "early")
    eventually(lambda: len(ledger.acknowledged) > least, 30, f"{least} messages")
    end_load(senders, stop=True)
    return ledger


@pytest.mark.parametrize("operation,number,remedy", [
    ("write", errno.EIO, "dmesg"), ("short", errno.ENOSPC, "free some space"), ("short", errno.EIO, "dmesg"),
    ("write", errno.EROFS, "mount it for writing")], ids=["EIO", "short-ENOSPC", "short-EIO", "EROFS"])
def test_writes_of_the_log_fail(troubled, operation, number, remedy):
    cluster, broker, trouble = troubled()
    ledger = filled(cluster, broker, "Failing")
    trouble.begin(operation, number, "/commitlog/")
    r = send_one(cluster, ledger)
    assert r.code != 0 and str(broker.store / "commitlog") in r.remark, r
    assert os.strerror(number) in r.remark and remedy in r.remark, r
    check(cluster, ledger, "CG_failing")                       # pulls go on
    senders = run_load(broker.address, ledger, "refused", acknowledged=False, limit=200)
    end_load(senders)
    trouble.end()
    eventually(lambda: send_one(cluster, ledger).code == 0, 20, "sends to be taken again, without a restart")
    end_load(run_load(broker.address, ledger, "late", limit=300))
    check(cluster, ledger, "CG_failing", thorough=True, create_group=False)
    broker.kill()
    broker.start()
    check(cluster, ledger, "CG_failing", thorough=True, create_group=False)
    broker.check()


def test_a_failed_sync_ends_acknowledgements_until_the_next_start(troubled):
    cluster, broker, trouble = troubled(flushDiskType="SYNC_FLUSH")
    ledger = filled(cluster, broker, "Unsynced")
    trouble.begin("sync", errno.EIO, "/commitlog/")
    r = send_one(cluster, ledger)
    assert r.code != 0 and re.search("sync .*/commitlog/.*Input/output error", r.remark), r
    trouble.end()
    r = send_one(cluster, ledger)                              # the disk may have dropped what it was given: no success any more
    assert r.code != 0 and "until the broker is started again" in r.remark, r
    ledger.refused.clear()                                     # not acknowledged is not the same as not stored
    with cluster.broker() as c:
        cluster.create_group("CG_unsynced")
        assert cluster.pull(c, "CG_unsynced", ledger.topic, 0, 0).code == 0
    broker.kill()
    broker.start()
    assert send_one(cluster, ledger).code == 0
    check(cluster, ledger, "CG_unsynced", thorough=True, create_group=False)


def test_what_cannot_be_read_is_said_and_the_rest_goes_on(troubled):
    cluster, broker, trouble = troubled()
    ledger = filled(cluster, broker, "Unread")
    other = cluster.create_topic("Readable")
    broker.restart()                                           # what is in memory is not asked for
    cluster.create_group("CG_read")
    trouble.begin("read", errno.EIO, "/commitlog/")
    with cluster.broker() as c:
        r = cluster.pull(c, "CG_read", ledger.topic, 0, 0)
        assert r.code == 1 and "/commitlog/" in r.remark and "Input/output error" in r.remark and "dmesg" in r.remark, r
        cluster.send(c, other, b"fresh")
        r = cluster.pull(c, "CG_read", other, 0, 0)
        assert r.code == 0 and [m.body for m in messages(r.body)] == [b"fresh"], r
    trouble.end()
    check(cluster, ledger, "CG_read", create_group=False)
    broker.stop()


@pytest.mark.parametrize("part", ["/commitlog/", "/consumequeue/"])
def test_a_disk_that_does_not_answer_holds_up_only_those_who_ask_it(troubled, part):
    cluster, broker, trouble = troubled()
    ledger = filled(cluster, broker, "Slow")
    other = cluster.create_topic("Quick")
    (name, (queue, offset, place)) = next((n, p) for n, p in ledger.acknowledged.items() if p[1] > 2)
    broker.restart()                                           # what is in memory is not asked for
    cluster.create_group("CG_slow")
    one = {"topic": ledger.topic, "queueId": queue}
    trouble.begin("hold", 1, part)
    with cluster.broker() as asking, cluster.broker() as c:
        wanted = {
            "message by id": (33, {"offset": place}), "offset by time": (29, {**one, "timestamp": 1}), "store time": (32, one),
            "entries": (321, {**one, "index": 0, "count": 3}), "topic": (202, {"topic": ledger.topic}),
            "group": (208, {"consumerGroup": "CG_slow", "topic": ledger.topic}),
            "send back": (36, {"group": "CG_slow", "offset": place, "delayLevel": 0, "originMsgId": "", "originTopic": ledger.topic}),
            "pull": (11, {"consumerGroup": "CG_slow", **one, "queueOffset": 0, "maxMsgNums": 4, "sysFlag": 4, "commitOffset": 0,
                          "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 0}),
        }
        with cluster.broker() as committing:
            assert committing.call(15, {"consumerGroup": "CG_slow", **one, "commitOffset": 2}).code == 0
        asked = {asking.send(Command(code, {k: str(v) for k, v in ext.items()})): what for what, (code, ext) in wanted.items()}
        for i in range(100):
            cluster.send(c, other, b"m%d" % i)                 # acknowledged while the disk is asked in vain
        r = cluster.pull(c, "CG_slow", other, 0, 99)
        assert [m.body for m in messages(r.body)] == [b"m99"], r
        held = [what for opaque, what in asked.items() if opaque not in {a.opaque for a in arrived(asking)}]
        least = {"message by id", "send back", "offset by time", "store time", "pull"} if "log" in part else {"offset by time", "entries", "pull"}
        assert least <= set(held), held
        trouble.end()
        answers = {what: asking.reply_to(opaque, 30) for opaque, what in asked.items()}
    wrong = {what: str(r) for what, r in answers.items() if r.code != 0}
    assert not wrong, wrong
    assert [m.body for m in messages(answers["message by id"].body)][0].startswith(name)
    assert answers["offset by time"].ext["offset"] == "0" and int(answers["store time"].ext["timestamp"]) > 1
    assert len(messages(answers["pull"].body)) > 0 and len(answers["entries"].json()["queueData"]) == 3
    broker.stop()


def test_lookups_by_key_that_wait_for_the_disk_hold_up_no_pull(troubled):
    cluster, broker, trouble = troubled(maxHashSlotNum=1000, maxIndexNum=20_000)
    ledger = filled(cluster, broker, "Keyed")
    with cluster.broker() as c:
        cluster.send(c, ledger.topic, b"keyed", props={"KEYS": "wanted"})
    broker.restart()                                           # what is in memory is not asked for
    cluster.create_group("CG_keyed")
    trouble.begin("hold", 1, "/index/")
    query = {"topic": ledger.topic, "key": "wanted", "maxNum": "10", "beginTimestamp": "0", "endTimestamp": str(1 << 60)}
    with cluster.broker() as asking, cluster.broker() as c:
        opaque = asking.send(Command(12, query))
        for queue in range(ledger.queues):
            assert cluster.pull(c, "CG_keyed", ledger.topic, queue, 0).code == 0
        assert opaque not in {a.opaque for a in arrived(asking)}, "it is held"
        trouble.end()
        r = asking.reply_to(opaque, 30)
        assert r.code == 0 and [m.body for m in messages(r.body)] == [b"keyed"], r
    broker.stop()


def arrived(connection):
    """What has come by now; it stays to be asked for."""
    try:
        while True:
            connection.inbox.append(connection.read(0.05))
    except TimeoutError:
        return connection.inbox


# -- places that cannot be a store

def refused(broker, *parts):
    with pytest.raises(StartError) as e:
        broker.start()
    said = str(e.value)
    assert "ended with 1" in said
    for part in ("storePathRootDir", *map(str, parts)):
        assert part in said, said
    assert "Fatal" not in said and len(broker.lines) < 10


def test_a_file_in_the_place_of_the_store(start, directory):
    (directory / "file").write_text("not a directory")
    refused(start.broker([], storePathRootDir=directory / "file", ready=False), directory / "file", "File exists", "move it away")


def test_a_file_in_the_place_of_the_log(start, directory):
    (directory / "store").mkdir()
    (directory / "store" / "commitlog").write_text("not a directory")
    refused(start.broker([], storePathRootDir=directory / "store", ready=False), directory / "store" / "commitlog", "move it away")


def test_a_store_that_another_broker_has_open(start, directory):
    first = start.broker([], label="first", storePathRootDir=directory / "store", mappedFileSizeCommitLog=1 << 20)
    second = start.broker([], label="second", storePathRootDir=directory / "store", ready=False)
    refused(second, directory / "store" / "lock", "another process", "stop the other one")
    first.check()                                              # and is none the worse for it
    first.stop()
    second.start()
    second.stop()


def test_a_read_only_file_system(start, directory):
    place = directory / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,ro", "tmpfs", str(place)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs to mount a tmpfs: {made.stderr.strip()}")
    try:
        broker = start.broker([], storePathRootDir=place / "store", ready=False)
        refused(broker, place / "store", "Read-only file system", "mount it for writing")
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        broker.settings["mappedFileSizeCommitLog"] = 1 << 20
        broker.start()
        broker.stop()
        # A store that is there already, on a disk that went read-only.
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        refused(broker, place / "store", "Read-only file system", "mount it for writing")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_directory_without_permission(start, directory, base):
    (directory / "closed").mkdir(mode=0o755)
    broker = start.broker([], storePathRootDir=directory / "closed" / "store", ready=False)
    if os.geteuid() == 0:
        os.chmod(base, 0o711)
        for path in (directory, broker.directory):
            os.chmod(path, 0o755)
        broker.wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv to be somebody else than root")
    else:
        os.chmod(directory / "closed", 0o555)
    refused(broker, directory / "closed" / "store", "Permission denied", "ls -ld")


# -- while it runs, and as it stops

def listens(address):
    host, port = address.split(":")
    with socket.socket() as s:
        s.settimeout(5)
        return s.connect_ex((host, int(port))) == 0


@pytest.mark.parametrize("program", ["mqbroker", "mqall"])
def test_a_stop_that_cannot_store_ends_with_an_error(start, shim, directory, program):
    trouble = Trouble(directory / "faults")
    if program == "mqbroker":
        broker = start.broker([start.nameserver()], ready=False)
        nameserver = broker.nameservers
    else:
        broker = start.all(ready=False)
    broker.wrapper = ["env", f"LD_PRELOAD={shim}", f"FAULTS_FILE={trouble.path}"]
    broker.start()
    cluster = Cluster(nameserver if program == "mqbroker" else broker.nameserver)
    cluster.create_topic("Stopping")
    with cluster.broker() as c:
        cluster.send(c, "Stopping", b"acknowledged")
    trouble.begin("sync", errno.EIO, "/store/" if program == "mqbroker" else "/data/")
    broker.stop(code=1)
    said = [line for line in broker.lines if "ERROR" in line and "stopped, not cleanly" in line]
    assert len(said) == 1 and re.search("cannot sync .*/commitlog/.*Input/output error", said[0]) and "dmesg" in said[0], broker.lines[-5:]
    trouble.end()
    broker.start()                                             # and the next start finds all
    cluster = Cluster(nameserver if program == "mqbroker" else broker.nameserver)
    assert [m.body for m in cluster.read_all("Stopping")] == [b"acknowledged"]
    broker.stop()


def test_a_stop_after_a_failed_flush_is_no_clean_one(troubled):
    cluster, broker, trouble = troubled(flushDiskType="SYNC_FLUSH")
    topic = cluster.create_topic("Failed")
    trouble.begin("sync", errno.EIO, "/commitlog/")
    with cluster.broker() as c:
        assert cluster.send(c, topic, b"x", expect=None).code != 0
    trouble.end()
    broker.stop(code=1)
    assert any("not cleanly" in line and "Input/output error" in line for line in broker.lines), broker.lines[-5:]
    broker.restart()


@pytest.mark.parametrize("how", ["removed", "log removed", "moved away", "replaced"])
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_a_store_that_is_taken_away_while_it_is_open(start, how, flush):
    ns, broker, cluster = start.cluster(flushDiskType=flush)
    topic = cluster.create_topic("Taken")
    cluster.create_group("CG_taken")
    with cluster.broker() as c:
        for i in range(20):
            cluster.send(c, topic, b"m%d" % i)
        log, away = broker.store / "commitlog", broker.directory / "away"
        if how == "removed":
            # What is written meanwhile may bring back a file.
            eventually(lambda: shutil.rmtree(broker.store, ignore_errors=True) or not log.exists(), 10, "the store to be gone")
        elif how == "log removed":
            shutil.rmtree(log)
        else:
            broker.store.rename(away)
            if how == "replaced":
                shutil.copytree(away, broker.store)
        refused = eventually(lambda: (r := cluster.send(c, topic, b"lost?", expect=None)).code != 0 and r, 20, "a send to be refused")
        assert refused.code in (1, 14) and re.search(re.escape(str(broker.store)) + r"\S* was removed or replaced", refused.remark), refused
        assert "put it back" in refused.remark
        broker.wait_for(r"ERROR.*" + re.escape(str(broker.store)) + r"\S* was removed or replaced", 10)
        if flush == "SYNC_FLUSH":
            assert cluster.send(c, topic, b"again", expect=None).code != 0
        r = cluster.pull(c, "CG_taken", topic, 0, 0, max_num=20)
        assert r.code == 0 and [m.body for m in messages(r.body)][:20] == [b"m%d" % i for i in range(20)], "what is open is served"
    broker.stop(code=1)
    assert any("not cleanly" in line for line in broker.lines)
    if how in ("moved away", "replaced"):
        shutil.rmtree(broker.store, ignore_errors=True)
        away.rename(broker.store)
        broker.start()
        assert [m.body for m in Cluster(ns.address).read_all(topic)][:20] == [b"m%d" % i for i in range(20)]
        broker.stop()


def open_files(pid):
    """Paths of what a process has open; files that it closes meanwhile are left out."""
    paths = []
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                paths.append(os.readlink(descriptor))
            except OSError:
                pass
    except OSError:
        pass
    return paths


def test_nobody_can_connect_before_the_store_is_open(start, shim, directory):
    """A recovery that takes long: a client that came then would wait in vain instead of turning to another broker."""
    server = start.nameserver()
    broker = start.broker([server])
    cluster = Cluster(server.address)
    topic = cluster.create_topic("Late")
    with cluster.broker() as c:
        for i in range(50):
            cluster.send(c, topic, b"m%d" % i)
    broker.kill()
    trouble = Trouble(directory / "faults")
    trouble.begin("hold", 1, "/commitlog/")
    broker.wrapper = ["env", f"LD_PRELOAD={shim}", f"FAULTS_FILE={trouble.path}"]
    broker.spawn()
    # It has its store, and waits for the disk.
    eventually(lambda: any("/store/lock" in path for path in open_files(broker.pid)), 20, "the lock")
    for _ in range(20):
        assert not listens(broker.address)
    second = start.broker([], label="second", ready=False)
    second.port = broker.port
    trouble.end()
    broker.wait_for("listens on", 30, since=broker.mark)
    eventually(lambda: listens(broker.address), 20, "the port to be open")
    with pytest.raises(StartError, match=rf"cannot listen on .*{broker.port}"):
        second.start()
    assert not second.store.exists(), "a port that is taken is known before the store is touched"
    assert sorted(m.body for m in Cluster(server.address).read_all(topic)) == sorted(b"m%d" % i for i in range(50))
    broker.stop()


def as_nobody(broker, *directories):
    """The broker as somebody whom permissions hold back."""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv to be somebody else than root")
        broker.wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        for path in directories:
            os.chown(path, 65534, 65534)


def send_until(cluster, topic, wanted, what):
    """One message after the other until an answer is as wanted; that answer, and how many were acknowledged."""
    acknowledged = 0
    with cluster.broker() as c:
        for _ in range(400):
            r = cluster.send(c, topic, b"x" * 50_000, expect=None)
            acknowledged += r.code == 0
            if wanted(r):
                return r, acknowledged
    raise AssertionError(f"no {what} in 400 sends, the last was answered {r}")


@pytest.mark.parametrize("program", ["mqbroker", "mqall"])
def test_permission_is_lost_while_it_runs(start, directory, base, program):
    os.chmod(base, 0o711)
    os.chmod(directory, 0o755)
    if program == "mqbroker":
        server = start.nameserver()
        broker = start.broker([server], ready=False, mappedFileSizeCommitLog=1 << 20)
    else:
        broker = start.all(ready=False, mappedFileSizeCommitLog=1 << 20, diskSpaceWarningLevelRatio=100, diskSpaceCleanForciblyRatio=100)
    as_nobody(broker, broker.directory)
    broker.start()
    cluster = Cluster(server.address if program == "mqbroker" else broker.nameserver)
    log = (broker.store if program == "mqbroker" else broker.directory / "data") / "commitlog"
    topic = cluster.create_topic("Closed", queues=1)
    _, before = send_until(cluster, topic, lambda r: r.code == 0, "message stored")
    log.chmod(0o555)
    refused, more = send_until(cluster, topic, lambda r: r.code != 0, "refusal")
    assert str(log) in refused.remark and "Permission denied" in refused.remark and "ls -ld" in refused.remark, refused
    cluster.create_group("CG_closed")
    with cluster.broker() as c:
        assert cluster.pull(c, "CG_closed", topic, 0, 0).code == 0
    log.chmod(0o755)
    _, again = send_until(cluster, topic, lambda r: r.code == 0, "message taken again, without a restart")
    assert len(cluster.read_all(topic, queues=1)) == before + more + again
    broker.stop()


@pytest.mark.parametrize("program", ["mqbroker", "mqall"])
def test_a_limit_of_the_size_of_files(start, program):
    """ulimit -f: the system would end a process for it that did not ask otherwise."""
    settings = {"mappedFileSizeCommitLog": 8 << 20, "maxHashSlotNum": 1000, "maxIndexNum": 10_000}
    broker = start.broker([], ready=False, **settings) if program == "mqbroker" else start.all(ready=False, **settings)
    broker.wrapper = ["prlimit", f"--fsize={4 << 20}"]
    if not shutil.which("prlimit"):
        pytest.skip("needs prlimit")
    store = broker.store if program == "mqbroker" else broker.directory / "data"
    if program == "mqbroker":
        server = start.nameserver()
        broker.nameservers = server.address
    broker.start()
    cluster = Cluster(server.address if program == "mqbroker" else broker.nameserver)
    topic = cluster.create_topic("Limited", queues=1)
    with cluster.broker() as c:
        r = cluster.send(c, topic, b"x" * 1000, expect=None)
        assert r.code != 0 and str(store / "commitlog") in r.remark and "File too large" in r.remark and "ulimit -f" in r.remark, r
    broker.check()
    broker.stop()
    broker.wrapper = []
    broker.start()
    cluster = Cluster(server.address if program == "mqbroker" else broker.nameserver)
    with cluster.broker() as c:
        cluster.send(c, topic, b"y")
    assert [m.body for m in cluster.read_all(topic, queues=1)] == [b"y"]
    broker.stop()


def test_mqall_says_what_is_wrong_with_its_place(start, directory):
    first = start.all()
    second = AllInOne(directory / "second")
    second.directory = first.directory                         # the same data
    try:
        with pytest.raises(StartError) as e:
            second.start()
        assert "ended with 1" in str(e.value) and str(first.directory / "data" / "lock") in str(e.value) and "another process" in str(e.value)
    finally:
        second.forget()
    first.check()
    first.stop()
    shutil.rmtree(first.directory / "data")
    (first.directory / "data").write_text("a file")
    with pytest.raises(StartError, match="ended with 1(.|\n)*data(.|\n)*File exists"):
        first.start()


def test_a_read_only_bind_mount(start, directory):
    place = directory / "bound"
    place.mkdir()
    (directory / "real").mkdir()
    made = subprocess.run(["mount", "--bind", str(directory / "real"), str(place)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs to mount: {made.stderr.strip()}")
    try:
        broker = start.broker([], storePathRootDir=place / "store", mappedFileSizeCommitLog=1 << 20)
        broker.stop()
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        refused(broker, place / "store", "Read-only file system", "mount it for writing")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
