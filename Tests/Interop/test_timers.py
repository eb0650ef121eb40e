"""Many messages that are due at a time of their own, in short: `mqbench timers -m 1000000` and `--pending -m 10000000` are the long
forms. Tests of recall, order, clocks and crashes are in RocketMQBrokerTests and test_crash.py."""
import json

import pytest
from servers import binary, run


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
