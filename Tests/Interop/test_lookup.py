"""Messages found by key and by time, all of them and exactly; and that very many queues and reads of old messages cost little."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from servers import binary
from wire import Cluster, batch_body, messages, offset_of


def admin(cluster, *words):
    r = subprocess.run([str(binary("mqadmin")), *words, "-n", cluster.namesrv], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def test_a_key_of_many_messages_is_paged_through(start):
    ns, broker, cluster = start.cluster()
    cluster.create_topic("Keyed")
    count = 300
    with cluster.broker() as c:
        ids = [cluster.send(c, "Keyed", b"m%d" % i, queue=i % 4, props={"KEYS": "order-7", "UNIQ_KEY": f"U{i:04}"}).ext["msgId"]
               for i in range(count)]
    # The tool asks again where the broker gives fewer at a time.
    found = [line.split()[0] for line in admin(cluster, "queryMsgByKey", "-t", "Keyed", "-k", "order-7", "-m", "1000").splitlines()
             if line.startswith("U")]
    assert found == [f"U{i:04}" for i in range(count)], found[:5]
    some = [line for line in admin(cluster, "queryMsgByKey", "-t", "Keyed", "-k", "order-7", "-m", "70").splitlines() if line.startswith("U")]
    assert [line.split()[0] for line in some] == [f"U{i:04}" for i in range(count - 70, count)], "the newest so many"
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
            seen += sorted((m.commit_offset for m in page), reverse=True)
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
    ns, broker, cluster = start.cluster(mappedFileSizeCommitLog=1 << 30)
    r = subprocess.run(
        [str(binary("mqbench")), "cold", "--brokerAddr", broker.address, "--store", str(broker.store), "--gibibytes", "1", "--rounds", "1",
         "-T", "2", "-w", "1", "-c", "2", "-d", "4", "--json"], capture_output=True, text=True, timeout=180)
    assert r.returncode == 0, r.stdout + r.stderr
    found = json.loads(r.stdout)
    assert found["backlogMessages"] * 4000 >= 1 << 30
    for way in ("alone", "reading"):
        assert found["rounds"][0][way]["messages"] > 0 and found["rounds"][0][way]["p50Microseconds"] < 1_000_000, found
    assert found["rounds"][0]["readMebibytes"] > 0, found
    broker.check()
