"""Messages found by key and by time, all of them and exactly; and that very many queues and reads of old messages cost little."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from servers import binary
from wire import Cluster, batch_body, eventually, messages, offset_of


def admin(cluster, *words, whole=False):
    r = subprocess.run([str(binary("mqadmin")), *words, "-n", cluster.namesrv], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    return r if whole else r.stdout


def test_a_key_of_many_messages_is_paged_through(start):
    ns, broker, cluster = start.cluster()
    cluster.create_topic("Keyed")
    count = 300
    with cluster.broker() as c:
        ids = [cluster.send(c, "Keyed", b"m%d" % i, queue=i % 4, props={"KEYS": "order-7", "UNIQ_KEY": f"U{i:04}"}).ext["msgId"]
               for i in range(count)]
    def found(*more):
        r = admin(cluster, "queryMsgByKey", "-t", "Keyed", "-k", "order-7", *more, whole=True)
        return [line.split()[0] for line in r.stdout.splitlines() if line.startswith("U")], r.stderr
    newest_first = [f"U{i:04}" for i in reversed(range(count))]
    assert found() == (newest_first, ""), "all, where no limit is given"
    assert found("-m", "300") == (newest_first, "")
    some, said = found("-m", "70")
    assert some == newest_first[:70] and "there are more" in said and "-m" in said, (some[:3], said)
    # Clients page by time, or with the place where an answer ended.
    with cluster.broker() as c:
        seen, older = [], None
        while True:
            ext = {"topic": "Keyed", "key": "order-7", "maxNum": "64", "beginTimestamp": "0", "endTimestamp": str(1 << 60)}
            r = c.call(12, {**ext, **({"olderThanPhyOffset": str(older)} if older is not None else {})})
            if r.code != 0:
                break
            page = messages(r.body)
            assert 0 < len(page) <= 64
            older = min(m.commit_offset for m in page)
            seen += [m.commit_offset for m in page]
        assert seen == [offset_of(i) for i in reversed(ids)]
    broker.stop()
    broker.start()
    with Cluster(ns.address).broker() as c:
        r = c.call(33, {"offset": str(offset_of(ids[0]))})
        assert r.code == 0 and messages(r.body)[0].body == b"m0"


def test_bounds_are_exact_where_messages_have_the_same_time(start):
    ns, broker, cluster = start.cluster()
    cluster.create_topic("Timed", queues=1)
    with cluster.broker() as c:
        for group in range(5):                                 # those of a batch are stored at the same time
            cluster.send(c, "Timed", batch_body([(b"g%d" % group, {})] * 40), batch=True)
            until = int(time.time() * 1000) + 1
            while int(time.time() * 1000) <= until:
                pass
        times = []
        offset = 0
        while offset < 200:
            got = messages(cluster.pull(c, "CG_timed", "Timed", 0, offset, max_num=100).body)
            times += [m.store_ts for m in got]
            offset += len(got)
    assert len(times) == 200 and len(set(times)) == 5, sorted(set(times))

    def check():
        with Cluster(ns.address).broker() as c:
            def search(at, **more):
                r = c.call(29, {"topic": "Timed", "queueId": "0", "timestamp": str(at), **more})
                assert r.code == 0, r
                return int(r.ext["offset"])
            for at in sorted({t + d for t in set(times) for d in (-1, 0, 1)}):
                lower = sum(t < at for t in times)
                upper = max(0, sum(t <= at for t in times) - 1)
                assert search(at, boundaryType="LOWER") == lower, at
                assert search(at, boundaryType="UPPER") == upper, at
                assert search(at) == min(lower, 199), at
    check()
    broker.restart()                                           # from files as well as from memory
    check()


def test_many_queues_cost_little(directory):
    """A short form of many_queues.py, with bounds for a busy machine."""
    r = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "many_queues.py"), "--topics", "250", "--rounds", "1", "--starts", "1", "--seconds", "2",
         "--start", "15", "--memory", "150", "--ratio", "0.1", "--directory", str(directory)],
        capture_output=True, text=True, timeout=180, env=os.environ)
    assert r.returncode == 0 and "2000 queues: start" in r.stdout, r.stdout + r.stderr


def test_a_cold_backlog_is_read_while_others_send(start):
    """A short form of `mqbench cold`: that it works, and that nobody waits for long."""
    # A full disk would have the broker delete the backlog.
    full = {"diskMaxUsedSpaceRatio": 95, "diskSpaceCleanForciblyRatio": 97, "diskSpaceWarningLevelRatio": 99}
    ns, broker, cluster = start.cluster(mappedFileSizeCommitLog=1 << 30, **full)
    r = subprocess.run(
        [str(binary("mqbench")), "cold", "--brokerAddr", broker.address, "--store", str(broker.store), "--gibibytes", "1", "--rounds", "1",
         "-T", "8", "-w", "1", "-c", "2", "-d", "4", "--json"], capture_output=True, text=True, timeout=180)
    assert r.returncode == 0, r.stdout + r.stderr
    found = json.loads(r.stdout)
    assert found["backlogMessages"] * 4000 >= 1 << 30
    for way in ("alone", "reading"):
        assert found["rounds"][0][way]["messages"] > 0 and found["rounds"][0][way]["p50Microseconds"] < 1_000_000, found
    assert found["rounds"][0]["readMebibytes"] > 0, found
    broker.check()


def test_a_rate_that_no_broker_reaches_is_measured_all_the_same(start):
    ns, broker, cluster = start.cluster(mappedFileSizeCommitLog=64 << 20)
    r = subprocess.run(
        [str(binary("mqbench")), "load", "--brokerAddr", broker.address, "-r", "10000000", "-T", "2", "-w", "1", "-c", "2", "--json"],
        capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stdout + r.stderr
    found = json.loads(r.stdout)
    assert found["messages"] > 0 and found["failed"] == 0 and found["peakMemoryMebibytes"] < 1000, found


def test_lookups_with_hostile_values_are_answered_and_explained(start):
    """Places that no message has, times that cannot be, counts that mean nothing: each gets an answer, and none fells the broker."""
    least, most = -(1 << 63), (1 << 63) - 1
    ns, broker, cluster = start.cluster(mappedFileSizeCommitLog=1 << 20, maxHashSlotNum=50, maxIndexNum=40)
    cluster.create_topic("Hostile", queues=1)
    with cluster.broker() as c:
        # The index has room for 40 keys a file: a unique key, and one that all have, lie in many of them.
        sent = [cluster.send(c, "Hostile", b"x" * 30_000, props={"KEYS": "all", "UNIQ_KEY": f"U{i:04}"}) for i in range(100)]
        offsets = [offset_of(r.ext["msgId"]) for r in sent]

        def query(key, unique=False, **more):
            ext = {"topic": "Hostile", "key": key, "maxNum": 1000, "beginTimestamp": 0, "endTimestamp": most, **more}
            if unique:
                ext["_UNIQUE_KEY_QUERY"] = "true"
            r = c.call(12, {k: str(v) for k, v in ext.items()})
            return [m.commit_offset for m in messages(r.body)] if r.code == 0 else (r.code, r.remark)

        def check():
            assert query("all") == offsets[::-1], "newest first, across index files"
            for i in (0, 1, 19, 20, 21, 50, 99):
                assert query(f"U{i:04}", unique=True) == [offsets[i]] == query(f"U{i:04}"), i
            for bad in (0, -1, least, 1 << 70, "ten", ""):
                code, remark = query("all", maxNum=bad)
                assert code == 1 and "maxNum" in remark, (bad, remark)
            assert query("all", maxNum=most) == query("all", maxNum=(1 << 31) - 1) == offsets[::-1]
            for begin, end, number in ((least, most, 100), (least, -1, 0), (0, 0, 0), (most, most, 0)):
                got = query("all", beginTimestamp=begin, endTimestamp=end)
                assert (len(got) if isinstance(got, list) else 0) == number, (begin, end, got)
            code, remark = query("all", beginTimestamp=2, endTimestamp=1)
            assert code == 1 and "beginTimestamp" in remark, remark
            for older, number in ((least, 0), (-1, 0), (0, 0), (offsets[1], 1), (offsets[1] + 1, 2), (most, 100)):
                got = query("all", olderThanPhyOffset=older)
                assert (len(got) if isinstance(got, list) else 0) == number, (older, got)
            assert query("") == query("#") == (22, "can not find message, maybe time range not correct")
            # A place in the log: before it, in the middle of a record, behind its end, in a file that is not there.
            for place in (least, -1, offsets[5] + 1, offsets[5] - 4, offsets[-1] + 40_000, 1 << 40, most):
                r = c.call(33, {"offset": str(place)})
                assert r.code == 1 and str(place) in r.remark, (place, r)
            for place in (offsets[0], offsets[99]):
                r = c.call(33, {"offset": str(place)})
                assert r.code == 0 and messages(r.body)[0].commit_offset == place
            for at, lower, upper in ((least, 0, 0), (-1, 0, 0), (0, 0, 0), (most, 100, 99)):
                for boundary, wanted in (("LOWER", lower), ("UPPER", upper)):
                    r = c.call(29, {"topic": "Hostile", "queueId": "0", "timestamp": str(at), "boundaryType": boundary})
                    assert r.code == 0 and int(r.ext["offset"]) == wanted, (at, boundary, r)
            for queue in (-1, 7, (1 << 31) - 1):
                r = c.call(29, {"topic": "Hostile", "queueId": str(queue), "timestamp": "0"})
                assert r.code != 0 or r.ext["offset"] == "0", r
        check()
    broker.restart()
    with Cluster(ns.address).broker() as c:
        check()
    broker.check()


def test_ids_of_messages_that_are_gone_or_of_another_broker(start):
    ns, broker, cluster = start.cluster(mappedFileSizeCommitLog=1 << 20, commitLogMaxBytes=2 << 20, cleanResourceInterval=100,
                                        cleanFileForciblyEnable="true")
    cluster.create_topic("Gone", queues=1)
    with cluster.broker() as c:
        ids = [cluster.send(c, "Gone", b"x" * 60_000, props={"KEYS": "gone", "UNIQ_KEY": f"G{i}"}).ext["msgId"] for i in range(80)]
        eventually(lambda: c.call(33, {"offset": str(offset_of(ids[0]))}).code != 0, 30, "the oldest file to go")
        r = c.call(33, {"offset": str(offset_of(ids[0]))})
        assert r.code == 1 and "can not find message by the offset" in r.remark, r
        left = c.call(12, {"topic": "Gone", "key": "gone", "maxNum": "1000", "beginTimestamp": "0", "endTimestamp": str(1 << 60)})
        found = [m.commit_offset for m in messages(left.body)]
        assert found == [offset_of(i) for i in reversed(ids)][:len(found)] and 0 < len(found) < 80
    r = subprocess.run([str(binary("mqadmin")), "queryMsgById", "-i", ids[0], "-n", cluster.namesrv], capture_output=True, text=True, timeout=60)
    assert r.returncode != 0 and "there is no message" in r.stderr and "expired" in r.stderr, r
    other = start.nameserver()                                 # something that listens, and is no broker with this message
    host, port = other.address.split(":")
    foreign = "".join(f"{int(part):02X}" for part in host.split(".")) + f"{int(port):08X}" + f"{12345:016X}"
    for wrong in (foreign, ids[0][:-1], "Z" * 32):
        r = subprocess.run([str(binary("mqadmin")), "queryMsgById", "-i", wrong, "-n", cluster.namesrv], capture_output=True, text=True, timeout=60)
        assert r.returncode != 0 and len(r.stderr) > 20 and "Fatal" not in r.stderr, r
