"""Half-message transactions over plain sockets: out of sight until committed, delivered once, asked about when no outcome
comes, and all of it across restarts and kill -9."""
import random
import threading
import time
import uuid

import pytest
from wire import TX_COMMIT, TX_PREPARED, TX_ROLLBACK, Closed, Conn, eventually, heartbeat, messages, offset_of, send_v2

END, CHECK, RESUME, UNKNOWN = 37, 39, 323, 0
FAST = {"transactionCheckInterval": 300, "transactionTimeOut": 1000, "flushConsumerOffsetInterval": 200}


class Producer:
    """A producer of a transaction group on a connection of its own."""

    def __init__(self, address, group, timeout=10.0):
        self.group, self.conn = group, Conn(address, timeout)
        r = self.conn.call(34, body=heartbeat(f"producer-{uuid.uuid4().hex[:8]}", producers=[group]))
        assert r.code == 0, r

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.conn.close()

    def half(self, topic, body, queue=0, expect=0, **props):
        """Sends a half message; returns what END_TRANSACTION needs to know of it."""
        key = uuid.uuid4().hex.upper()
        props = {"TRAN_MSG": "true", "PGROUP": self.group, "UNIQ_KEY": key, "KEYS": f"k-{key}", "WAIT": "true", **props}
        r = self.conn.call(310, send_v2(topic, queue, props, self.group, TX_PREPARED), body)
        assert r.code == expect, r
        if expect:
            return r
        return {"tranStateTableOffset": r.ext["queueOffset"], "commitLogOffset": offset_of(r.ext["msgId"]),
                "msgId": r.ext["transactionId"], "transactionId": r.ext["transactionId"]}

    def end(self, half, state, oneway=True, checked=False, group=None):
        ext = {**half, "producerGroup": group or self.group, "commitOrRollback": state, "fromTransactionCheck": checked}
        return self.conn.oneway(END, ext) if oneway else self.conn.call(END, ext)

    def asked(self, timeout=5.0):
        """The next question: (what an answer needs, the request, the message in its body)."""
        r = self.conn.pushed(CHECK, timeout)
        (m,) = messages(r.body)
        return {k: r.ext[k] for k in ("tranStateTableOffset", "commitLogOffset", "msgId", "transactionId")}, r, m


@pytest.fixture
def place(start, name):
    """A broker that asks soon, with a topic and a group."""
    _, broker, cluster = start.cluster(**FAST)
    yield broker, cluster, cluster.create_topic(name("T")), name("PG")


def runtime(cluster):
    with cluster.broker() as c:
        return c.call(28).json()["table"]


def bodies(cluster, topic):
    return sorted(m.body for m in cluster.read_all(topic))


def test_commit_delivers_once(place):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        half = p.half(topic, b"one", queue=3, TAGS="A")
        assert cluster.total(topic) == 0
        assert runtime(cluster)["transactionUndecidedCount"] == "1"
        p.end(half, TX_COMMIT)
        p.end(half, TX_COMMIT)
        assert p.end(half, TX_COMMIT, oneway=False).code == 0
        (m,) = cluster.read_all(topic)
        assert (m.body, m.queue_id, m.sys_flag, m.prepared_offset) == (b"one", 3, TX_COMMIT, half["commitLogOffset"])
        assert m.props["TAGS"] == "A" and m.props["UNIQ_KEY"] == half["msgId"] and m.props["PGROUP"] == group
        assert runtime(cluster)["transactionUndecidedCount"] == "0"
        with pytest.raises(TimeoutError):
            p.asked(2.0)
    assert cluster.total(topic) == 1


def test_a_waiting_pull_gets_the_message_at_the_commit(place):
    _, cluster, topic, group = place
    cluster.create_group("CG_tx")
    with Producer(cluster.broker_addr, group) as p, cluster.broker() as c:
        half, got = p.half(topic, b"one"), []
        t = threading.Thread(target=lambda: got.append(cluster.pull(c, "CG_tx", topic, suspend_ms=10_000, timeout=12)), daemon=True)
        t.start()
        time.sleep(0.3)
        assert not got
        p.end(half, TX_COMMIT)
        t.join(5)
        assert got and got[0].code == 0 and messages(got[0].body)[0].body == b"one"


def test_rollback_never_delivers(place):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        half = p.half(topic, b"one")
        p.end(half, TX_ROLLBACK)
        assert p.end(half, TX_ROLLBACK, oneway=False).code == 0
        assert p.end(half, TX_COMMIT, oneway=False).code == 1
        with pytest.raises(TimeoutError):
            p.asked(2.0)
    assert cluster.total(topic) == 0


@pytest.mark.parametrize("state", [TX_COMMIT, TX_ROLLBACK])
def test_an_unknown_outcome_is_asked_for(place, state):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        half = p.half(topic, b"one", queue=2)
        p.end(half, UNKNOWN)
        began = time.monotonic()
        answer, request, m = p.asked()
        assert time.monotonic() - began > 0.5
        assert request.flag & 2 and request.ext["offsetMsgId"] == m.msg_id and answer["msgId"] == half["msgId"]
        assert (m.topic, m.queue_id, m.body) == (topic, 2, b"one")
        assert (str(m.queue_offset), str(m.commit_offset)) == (answer["tranStateTableOffset"], answer["commitLogOffset"])
        assert m.props["TRANSACTION_CHECK_TIMES"] == "1" and m.props["REAL_TOPIC"] == topic
        p.end(answer, state, checked=True)
        eventually(lambda: runtime(cluster)["transactionUndecidedCount"] == "0", 5, "the decision")
        p.conn.inbox.clear()
        with pytest.raises(TimeoutError):
            p.asked(1.5)
    assert bodies(cluster, topic) == ([b"one"] if state == TX_COMMIT else [])


def test_any_live_producer_of_the_group_is_asked(place):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as first:
        first.half(topic, b"one")
    with Producer(cluster.broker_addr, group + "x") as stranger, Producer(cluster.broker_addr, group) as second:
        answer, _, _ = second.asked()
        second.end(answer, TX_COMMIT, checked=True)
        eventually(lambda: bodies(cluster, topic) == [b"one"], 5, "the message")
        with pytest.raises(TimeoutError):
            stranger.asked(0.1)


def test_own_immunity(place):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        p.half(topic, b"late", CHECK_IMMUNITY_TIME_IN_SECONDS=3)
        soon = p.half(topic, b"soon")
        began = time.monotonic()
        answer, _, m = p.asked()
        assert m.body == b"soon" and answer["msgId"] == soon["msgId"]
        p.end(answer, TX_COMMIT, checked=True)
        answer, _, m = p.asked()
        while m.body != b"late":
            answer, _, m = p.asked()
        assert 2.5 < time.monotonic() - began < 6
        p.end(answer, TX_COMMIT, checked=True)
        eventually(lambda: bodies(cluster, topic) == [b"late", b"soon"], 5, "both")


def test_absurd_immunities_are_told_of_and_hold_nobody_up(place):
    broker, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        for n, odd in enumerate(("-5", "soon", "", "99999999999999999999", "-9223372036854775808")):
            p.half(topic, b"odd%d" % n, CHECK_IMMUNITY_TIME_IN_SECONDS=odd)
        p.half(topic, b"never", CHECK_IMMUNITY_TIME_IN_SECONDS="9223372036854775807")
        broker.wait_for(rf"WARN.*group {group} send transactions with CHECK_IMMUNITY_TIME_IN_SECONDS=-5: 0 s is taken", 10)
        decided = set()
        while len(decided) < 5:
            answer, _, m = p.asked()
            p.end(answer, TX_COMMIT, checked=True)
            decided.add(m.body)
        assert decided == {b"odd%d" % n for n in range(5)}
        eventually(lambda: set(bodies(cluster, topic)) == decided, 5, "the messages")
        assert runtime(cluster)["transactionUndecidedCount"] == "1"
    assert len([line for line in broker.lines if "CHECK_IMMUNITY_TIME_IN_SECONDS" in line]) == 1, "said once"


def test_set_aside_after_the_last_check_and_resumed(start, name):
    _, broker, cluster = start.cluster(**{**FAST, "transactionCheckMax": 2})
    topic, group = cluster.create_topic(name("T")), name("PG")
    with Producer(cluster.broker_addr, group) as p:
        p.half(topic, b"one")
        assert [p.asked()[2].props["TRANSACTION_CHECK_TIMES"] for _ in range(2)] == ["1", "2"]
        aside = eventually(lambda: cluster.read_all("TRANS_CHECK_MAX_TIME_TOPIC", queues=1), 5, "the message set aside")
        assert [m.body for m in aside] == [b"one"] and runtime(cluster)["transactionUndecidedCount"] == "0"
        with pytest.raises(TimeoutError):
            p.asked(1.0)
        assert p.conn.call(RESUME, {"msgId": aside[0].msg_id}).code == 0
        answer, _, m = p.asked()
        assert m.props["TRANSACTION_CHECK_TIMES"] == "1"
        p.end(answer, TX_COMMIT, checked=True)
        eventually(lambda: bodies(cluster, topic) == [b"one"], 5, "the message")


def test_a_transaction_with_a_delay(place):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        half = p.half(topic, b"one", DELAY=1)
        time.sleep(0.9)
        p.end(half, TX_COMMIT)
        began = time.monotonic()
        eventually(lambda: cluster.total(topic) == 1, 5, "the message")
        assert time.monotonic() - began > 0.8
    (m,) = cluster.read_all(topic)
    assert m.body == b"one" and m.sys_flag == TX_COMMIT and "DELAY" not in m.props


def test_outcomes_that_fit_nothing(place):
    _, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        half = p.half(topic, b"one")
        wrong = [dict(half, commitLogOffset=half["commitLogOffset"] + 1), dict(half, tranStateTableOffset=1), dict(half, tranStateTableOffset=-1),
                 dict(half, tranStateTableOffset=2**63 - 1), dict(half, commitLogOffset="x"), dict(half, commitLogOffset=-2**63)]
        for w in wrong:
            r = p.end(w, TX_COMMIT, oneway=False)
            assert r.code == 1 and r.remark, w
            p.end(w, TX_COMMIT)
        assert p.end(half, TX_COMMIT, oneway=False, group="another").code == 1
        for state in (4, 1, 13, -1):
            assert p.end(half, state, oneway=False).code == 1
        assert p.conn.call(END, {}).code == 1
        assert cluster.total(topic) == 0
        assert p.end(half, TX_COMMIT, oneway=False).code == 0
    assert cluster.total(topic) == 1


def test_rejected(start, name):
    _, _, cluster = start.cluster(rejectTransactionMessage="true")
    topic = cluster.create_topic(name("T"))
    with Producer(cluster.broker_addr, name("PG")) as p:
        assert p.half(topic, b"one", expect=16).remark


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_undecided_survive(place, how):
    broker, cluster, topic, group = place
    with Producer(cluster.broker_addr, group) as p:
        halves = [p.half(topic, b"%d" % i, queue=i % 4, CHECK_IMMUNITY_TIME_IN_SECONDS=1 if i < 7 else 3600) for i in range(9)]
        for i in (0, 3):
            p.end(halves[i], TX_COMMIT)
        assert p.end(halves[1], TX_ROLLBACK, oneway=False).code == 0
    getattr(broker, how)()
    broker.start()
    eventually(lambda: runtime(cluster)["transactionUndecidedCount"] == "6", 5, "six undecided")
    with Producer(cluster.broker_addr, group) as p:
        assert p.end(halves[0], TX_COMMIT, oneway=False).code == 1, "decided before"
        assert p.end(halves[8], TX_COMMIT, oneway=False).code == 0, "its own outcome, late"
        assert p.end(halves[7], TX_ROLLBACK, oneway=False).code == 0
        left = {b"2", b"4", b"5", b"6"}
        while left:
            answer, _, m = p.asked()
            assert m.body in (b"2", b"4", b"5", b"6")
            p.end(answer, TX_COMMIT, checked=True)
            left.discard(m.body)
        eventually(lambda: runtime(cluster)["transactionUndecidedCount"] == "0", 5, "nothing undecided")
    assert bodies(cluster, topic) == [b"0", b"2", b"3", b"4", b"5", b"6", b"8"]


# ---------------------------------------------------------------- kill -9 under load

class Ledger:
    """What each transaction's owner decided: the truth that deliveries are held against."""

    def __init__(self, seed):
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.decision, self.n = {}, 0          # body -> commits

    def next(self):
        with self.lock:
            self.n += 1
            body = b"tx-%06d" % self.n
            self.decision[body] = self.random.random() < 0.6
            return body, self.random.random()


def answer_checks(p, ledger):
    for c in [c for c in p.conn.inbox if c.code == CHECK and not c.is_response]:
        p.conn.inbox.remove(c)
        decide(p, c, ledger)


def decide(p, request, ledger):
    (m,) = messages(request.body)
    half = {k: request.ext[k] for k in ("tranStateTableOffset", "commitLogOffset", "msgId", "transactionId")}
    p.end(half, TX_COMMIT if ledger.decision[m.body] else TX_ROLLBACK, checked=True)


def load(address, topic, group, ledger, accepted):
    try:
        with Producer(address, group) as p:
            while True:
                body, fate = ledger.next()
                half = p.half(topic, body, queue=ledger.n % 4)
                with ledger.lock:
                    accepted.add(body)
                if fate < 0.6:
                    p.end(half, TX_COMMIT if ledger.decision[body] else TX_ROLLBACK)
                elif fate < 0.7:
                    p.end(half, UNKNOWN)
                answer_checks(p, ledger)
    except (Closed, ConnectionError, TimeoutError):
        pass


@pytest.mark.timeout(240)
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_killed_under_load(start, name, flush):
    """Whatever the moment of the crash: accepted and committed means delivered, rolled back means not, and none is left over."""
    _, broker, cluster = start.cluster(**{**FAST, "transactionCheckMax": 10_000}, flushDiskType=flush, mappedFileSizeCommitLog=1 << 20,
                                       mappedFileSizeConsumeQueue=4000)
    topic, group, ledger, accepted = cluster.create_topic(name("T")), name("PG"), Ledger(7), set()
    for _ in range(4):
        threads = [threading.Thread(target=load, args=(broker.address, topic, group, ledger, accepted), daemon=True) for _ in range(3)]
        for t in threads:
            t.start()
        time.sleep(ledger.random.uniform(0.3, 1.8))
        broker.kill()
        for t in threads:
            t.join(20)
        broker.start()
    with Producer(cluster.broker_addr, group) as p:
        end, answered = time.monotonic() + 150, set()
        while runtime(cluster)["transactionUndecidedCount"] != "0":
            assert time.monotonic() < end, runtime(cluster)
            try:
                # The broker asks about each again and again until it has the answer; one that is on its way will do.
                while (request := p.conn.pushed(CHECK, 1.0)).ext["msgId"] in answered and time.monotonic() < end:
                    pass
                for request in [request, *(c for c in p.conn.inbox if c.code == CHECK and not c.is_response)]:
                    if request.ext["msgId"] not in answered:
                        answered.add(request.ext["msgId"])
                        decide(p, request, ledger)
                p.conn.inbox.clear()
            except TimeoutError:
                pass
    delivered = bodies(cluster, topic)
    committed = {b for b in accepted if ledger.decision[b]}
    assert len(accepted) > 100
    assert not [b for b in delivered if not ledger.decision[b]], "rolled back and delivered"
    assert not committed - set(delivered), "committed and lost"
    assert len(delivered) == len(set(delivered)), "delivered twice"
