"""kill -9 under load, restart, check: one broker through many lives. test_crash.py does a few rounds, crash_soak.py many."""
import random
import threading
import time

from late import LateLedger, LateSender, check_late
from load import Ledger, check, end_load, run_load
from wire import Closed, Cluster, Conn, eventually, messages, send_v2

# Transactions are asked about soon, and as often as it takes.
SOON = {"transactionCheckInterval": 1000, "transactionTimeOut": 3000, "transactionCheckMax": 1000}


class CrashRun:
    def __init__(self, nameserver, broker, seed, queues=4, connections=4):
        self.nameserver, self.broker = nameserver, broker
        self.random, self.connections = random.Random(seed), connections
        self.cluster = Cluster(nameserver.address)
        self.ledger = Ledger(self.cluster.create_topic("CrashTopic", queues=queues), queues)
        self.late = LateLedger(self.cluster.create_topic("LateTopic", queues=queues), queues)
        self.topics = {}               # name -> queues, as acknowledged by UPDATE_AND_CREATE_TOPIC
        self.rounds, self.late_found = 0, 0

    def round(self, seconds=0.5):
        """Loads the broker, kills it at some moment within `seconds`, starts it again, and checks what it has."""
        self.rounds += 1
        senders = run_load(self.broker.address, self.ledger, f"r{self.rounds}", self.connections)
        creator = threading.Thread(target=self.create_topics, daemon=True)
        creator.start()
        late = LateSender(self.broker.address, self.late, f"late{self.rounds}")
        late.start()
        time.sleep(self.random.uniform(0, seconds))     # the crash comes at no particular moment
        self.broker.kill()
        end_load(senders)
        creator.join(30)
        late.join(30)
        assert late.failure is None, late.failure
        self.broker.start()
        self.cluster = Cluster(self.nameserver.address)
        return self.check()

    def clean_round(self):
        """The same with an orderly stop."""
        self.rounds += 1
        senders = run_load(self.broker.address, self.ledger, f"r{self.rounds}", self.connections)
        self.broker.stop()
        end_load(senders)
        self.broker.start()
        self.cluster = Cluster(self.nameserver.address)
        return self.check()

    def create_topics(self):
        """Topics by request and by first send, until the connection breaks."""
        try:
            with Conn(self.broker.address) as c:
                for i in range(10_000):
                    topic, queues = f"New_{self.rounds}_{i}", 1 + i % 16
                    ext = {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues,
                           "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False}
                    if i % 2:
                        r = c.call(310, {**send_v2(topic), "d": queues}, b"first")
                        queues = min(queues, 8)         # defaultTopicQueueNums
                    else:
                        r = c.call(17, ext)
                    assert r.code == 0, r
                    self.topics[topic] = queues
        except (Closed, ConnectionError):
            pass

    def check(self, thorough=False):
        if thorough or self.rounds % 10 == 0:
            self.late_found = check_late(self.cluster, self.late, final=thorough)
        found = check(self.cluster, self.ledger, "CG_crash", thorough)
        known = self.broker_topics()
        lost = {t: q for t, q in self.topics.items() if known.get(t) != q}
        assert not lost, f"{len(lost)} of {len(self.topics)} acknowledged topics are lost or changed: {list(lost.items())[:5]}"
        routed = self.cluster.route(next(reversed(self.topics))) if self.topics else True
        assert routed, "the last topic has no route"
        self.check_keys()
        return found

    def check_keys(self, samples=10):
        """Some acknowledged messages, the last one among them, are found by key, once the index has caught up."""
        names = list(self.ledger.acknowledged)
        with self.cluster.broker() as c:
            for name in {*self.random.sample(names, min(samples, len(names))), names[-1]}:
                def found():
                    r = c.call(12, {"topic": self.ledger.topic, "key": name.decode(), "maxNum": 4, "beginTimestamp": 0,
                                    "endTimestamp": 2**62})
                    return r.code == 0 and [m.body.split(b"|", 1)[0] for m in messages(r.body)]
                got = eventually(found, 10, f"{name} by its key")
                assert got == [name], f"the key of {name} finds {got}"

    def broker_topics(self):
        """GET_ALL_TOPIC_CONFIG (21)."""
        with self.cluster.broker() as c:
            r = c.call(21)
            assert r.code == 0, r
        return {t: v["writeQueueNums"] for t, v in r.json()["topicConfigTable"].items()}
