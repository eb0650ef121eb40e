"""How long messages stay: by topic, by message, by the size of the log; and what is said of it."""
import re
import subprocess

from load import Ledger, end_load, run_load
from servers import binary
from wire import Cluster, eventually, messages


def admin(cluster, *words):
    r = subprocess.run([str(binary("mqadmin")), *words, "-n", cluster.namesrv], capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def test_a_topic_keeps_its_messages_for_its_own_time(start):
    ns, broker, cluster = start.cluster(cleanResourceInterval=100)
    cluster.create_topic("Long")
    admin(cluster, "updateTopic", "-c", "DefaultCluster", "-t", "Short", "-a", "+retention.time=2s,+flush.disk.type=SYNC_FLUSH")
    assert "flush.disk.type=SYNC_FLUSH, retention.time=2s" in admin(cluster, "topicStatus", "-t", "Short")
    cluster.create_group("CG_keep")
    with cluster.broker() as c:
        for topic in ("Short", "Long"):
            for i in range(10):
                cluster.send(c, topic, b"m%d" % i)
        # Consumed in part: what goes unread is named.
        cluster.pull(c, "CG_keep", "Short", 0, 3, commitOffset="3", sysFlag="5")
        eventually(lambda: (r := cluster.pull(c, "CG_keep", "Short", 0, 0)).code == 21 and r.ext["minOffset"] == "10", 30,
                   "the messages of Short to expire")
        r = cluster.pull(c, "CG_keep", "Long", 0, 0)
        assert len(messages(r.body)) == 10
        cluster.send(c, "Short", b"new")
    # In as many lines as there were looks that found some.
    eventually(lambda: sum(int(n) for line in broker.lines for n in re.findall("expired unread.*group CG_keep of topic Short ([0-9]+)", line))
               >= 7, 10, "the unread messages to be named")
    assert "retention.time must be one time" in subprocess.run(
        [str(binary("mqadmin")), "updateTopic", "-b", broker.address, "-t", "Short", "-a", "+retention.time=soon"], capture_output=True,
        text=True, timeout=30).stderr
    broker.restart()
    with Cluster(ns.address).broker() as c:
        assert int(cluster.pull(c, "CG_keep", "Short", 0, 0).ext["minOffset"]) >= 10
    broker.stop()


def test_expired_messages_are_not_delivered(start):
    ns, broker, cluster = start.cluster()
    cluster.create_topic("T")
    cluster.create_group("CG_ttl")
    with cluster.broker() as c:
        cluster.send(c, "T", b"stays")
        for _ in range(50):
            cluster.send(c, "T", b"goes", props={"EXPIRE_AFTER_MS": "1500"})
        cluster.send(c, "T", b"stays too", props={"EXPIRE_AFTER_MS": "3600000"})
        want = [b"stays", b"stays too"]
        eventually(lambda: [m.body for m in messages(cluster.pull(c, "CG_ttl", "T", 0, 0, max_num=100).body)] == want, 20, "expiry")
        r = cluster.pull(c, "CG_ttl", "T", 0, 1, max_num=100)
        assert r.code == 0 and r.ext["nextBeginOffset"] == "52", "the consumer is not held up"
        assert cluster.send(c, "T", b"x", props={"EXPIRE_AFTER_MS": "soon"}, expect=None).code == 13


def test_the_log_stays_within_its_size(start):
    ns, broker, cluster = start.cluster(
        mappedFileSizeCommitLog=1 << 20, commitLogMaxBytes=4 << 20, cleanFileForciblyEnable="true", cleanResourceInterval=100)
    cluster.create_group("CG_slow")
    ledger = Ledger(cluster.create_topic("T"), 4)
    with cluster.broker() as c:
        cluster.send(c, "T", b"first")
        cluster.pull(c, "CG_slow", "T", 0, 0, commitOffset="0", sysFlag="5")
    end_load(run_load(broker.address, ledger, "much", limit=3000, sizes=(2000, 6000)))
    assert not ledger.refused
    log = broker.store / "commitlog"
    # Every file has its full size; one may go between the look at the directory and that at the file.
    eventually(lambda: len(list(log.iterdir())) <= 6, 30, "old files to go")
    said = broker.wait_for("messages were deleted unread, the commit log holds .* commitLogMaxBytes: group CG_slow of topic T ([0-9]+)", 10)
    assert int(said.group(1)) > 0
    status = admin(cluster, "brokerStatus", "-b", broker.address)
    assert re.search(r"diskSpaceLevel\s*:\s*(plenty|low|scarce)", status) and "before messages are refused" in status, status
    broker.stop()
