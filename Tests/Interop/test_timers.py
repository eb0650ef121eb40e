"""Many messages that are due at a time of their own, in short: `mqbench timers -m 1000000` and `--pending -m 10000000` are the long
forms. Tests of recall, order, clocks and crashes are in RocketMQBrokerTests and test_crash.py."""
import json
import re
import time

import pytest
from load import Ledger, end_load, run_load
from servers import binary, run
from wire import eventually


def bench(broker, *options):
    if not binary("mqbench").exists():
        pytest.skip(f"no mqbench in {binary('mqbench').parent}")
    r = run("mqbench", "timers", "--brokerAddr", broker.address, "--pid", broker.pid, "-c", 2, "-d", 64, "--json", *options, timeout=200)
    assert r.returncode == 0, r.stdout + r.stderr
    return json.loads(r.stdout)


@pytest.mark.timeout(240)
def test_all_due_at_one_moment(start):
    """Each is delivered once and none early, and fresh sends are answered all the while."""
    _, broker, _ = start.cluster()
    found = bench(broker, "-m", 50_000, "--due", 10, "-r", 200, "-T", 120)
    assert found["timerPendingCount"] == found["delivered"] == 50_000
    assert found["missing"] == found["repeated"] == found["early"] == found["failed"] == 0
    assert found["messages"] > 0, "fresh sends meanwhile"


@pytest.mark.timeout(240)
def test_what_is_delivered_says_no_time_before_its_own(start):
    """Store timestamps of delivered messages: not before their time, however busy the moment at which they are looked at."""
    _, broker, cluster = start.cluster()
    topic, ledger = cluster.create_topic("Stamped"), Ledger(cluster.create_topic("Busy"), 4)
    count = 3000
    with cluster.broker() as c:
        first = int(time.time() * 1000) + 2000
        for i in range(count):
            cluster.send(c, topic, b"%d" % (first + i), queue=i % 4, props={"TIMER_DELIVER_MS": first + i})
        senders = run_load(broker.address, ledger, "busy", connections=2)
        for i in range(count // 10):
            cluster.send(c, topic, b"level", queue=i % 4, props={"DELAY": 1}, h="0", g=str(int(time.time() * 1000)))
        eventually(lambda: cluster.total(topic) == count + count // 10, 60, "all to be delivered")
        end_load(senders, stop=True)
        found = cluster.read_all(topic)
        early = [(m.body, m.store_ts) for m in found if m.store_ts < (m.born_ts + 1000 if m.body == b"level" else int(m.body))]
        assert len(found) == count + count // 10 and not early, early[:10]
    # Nor do the times of a queue run backwards.
    for queue in range(4):
        times = [m.store_ts for m in found if m.queue_id == queue]
        assert times == sorted(times)


@pytest.mark.timeout(240)
def test_levels_that_were_taken_out_of_the_settings_are_shown(start):
    _, broker, cluster = start.cluster(messageDelayLevel="1s 2s 2s")
    topic = cluster.create_topic("Levels")
    with cluster.broker() as c:
        for i in range(5):
            cluster.send(c, topic, b"before", props={"DELAY": 3})
        eventually(lambda: cluster.total(topic) == 5, 20, "all to be delivered")
        broker.settings["messageDelayLevel"] = "1s 2s 1h"
    broker.restart()
    with cluster.broker() as c:
        for i in range(7):
            cluster.send(c, topic, b"late", props={"DELAY": 3})
    broker.settings["messageDelayLevel"] = "1s"
    broker.restart()
    r = run("mqadmin", "delayStatus", "-b", broker.address)
    assert r.returncode == 0 and re.search(r"level 3 \(removed\)\s+7\b", r.stdout), r
    assert "7 messages wait in level 3" in r.stderr and "messageDelayLevel" in r.stderr, r
    broker.settings["messageDelayLevel"] = "1s 2s 1s"
    broker.restart()
    eventually(lambda: cluster.total(topic) == 12, 20, "those that were left")
    assert sorted(m.body for m in cluster.read_all(topic)) == [b"before"] * 5 + [b"late"] * 7, "each once"
    assert "removed" not in run("mqadmin", "delayStatus", "-b", broker.address).stdout


@pytest.mark.timeout(240)
def test_what_waits_does_not_stay_in_memory(start):
    _, broker, cluster = start.cluster()
    found = bench(broker, "-m", 400_000, "--due", 3600, "--spread", 3_600_000, "--pending", "-b", 16)
    assert found["timerPendingCount"] == 400_000
    assert found["timerEntriesInMemory"] < 2 * 131_072 + 4096
    assert found["brokerAnonymousMebibytes"] < 256
    broker.kill()
    broker.start()
    with cluster.broker() as c:
        table = c.call(28).json()["table"]
    assert table["timerPendingCount"] == "400000" and table["timerDueCount"] == "0"
