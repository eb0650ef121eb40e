"""Messages that are seen later, under kills: delayed ones, by level and to the millisecond, and half messages. What was
acknowledged comes once, not early; what was rolled back never."""
import random
import threading
import time
from dataclasses import dataclass, field

from wire import TX_COMMIT, TX_PREPARED, TX_ROLLBACK, Closed, Conn, eventually, heartbeat, offset_of, send_v2

END, CHECK = 37, 39
LEVELS = {1: 1000, 2: 5000}
GROUP = "PG_late"
SLACK = 50


@dataclass
class LateLedger:
    topic: str
    queues: int
    due: dict = field(default_factory=dict)            # body -> when it may be seen at the earliest, in ms; of all that was sent
    acknowledged: set = field(default_factory=set)     # delayed ones, and half messages that will be committed
    outcomes: dict = field(default_factory=dict)       # key of a half message -> TX_COMMIT or TX_ROLLBACK
    committed: set = field(default_factory=set)        # bodies whose commit was answered


class LateSender(threading.Thread):
    """One connection that sends one message after the other until it breaks."""

    def __init__(self, address, ledger, name):
        super().__init__(daemon=True)
        self.address, self.ledger, self.prefix = address, ledger, name
        self.random, self.failure = random.Random(name), None

    def run(self):
        try:
            with Conn(self.address, timeout=20) as c:
                assert c.call(34, body=heartbeat(self.prefix, producers=[GROUP])).code == 0
                for number in range(100_000):
                    self.send(c, f"{self.prefix}-{number}".encode())
        except (Closed, ConnectionError):
            pass
        except Exception as e:         # noqa: BLE001 - shown by whoever joins this thread
            self.failure = e

    def send(self, c, body):
        kind, now = self.random.random(), int(time.time() * 1000)
        queue = self.random.randrange(self.ledger.queues)
        props = {"UNIQ_KEY": body.decode(), "WAIT": "true"}
        if kind < 0.3:
            level = self.random.choice(list(LEVELS))
            delay, props["DELAY"] = LEVELS[level], level
        elif kind < 0.7:
            delay = self.random.randrange(1, 8000)
            props["TIMER_DELIVER_MS"] = now + delay
        else:
            return self.transaction(c, body, queue, props)
        # Records have the time at which the broker's turn began: some milliseconds before.
        self.ledger.due[body] = now + delay - SLACK
        r = c.call(310, send_v2(self.ledger.topic, queue, props, GROUP), body)
        if r.code == 0:
            self.ledger.acknowledged.add(body)

    def transaction(self, c, body, queue, props):
        outcome = self.random.choice([TX_COMMIT, TX_ROLLBACK])
        self.ledger.outcomes[body.decode()] = outcome
        if outcome == TX_COMMIT:
            self.ledger.due[body] = 0
        props |= {"TRAN_MSG": "true", "PGROUP": GROUP}
        r = c.call(310, send_v2(self.ledger.topic, queue, props, GROUP, sys_flag=TX_PREPARED), body)
        if r.code != 0:
            return
        if outcome == TX_COMMIT:
            self.ledger.acknowledged.add(body)
        if self.random.random() < 0.2:
            return                     # it will be asked about
        place = {"producerGroup": GROUP, "tranStateTableOffset": r.ext["queueOffset"], "commitLogOffset": offset_of(r.ext["msgId"]),
                 "commitOrRollback": outcome, "fromTransactionCheck": False, "msgId": body.decode()}
        if c.call(END, place).code == 0 and outcome == TX_COMMIT:
            self.ledger.committed.add(body)


def answer_checks(c, ledger, seconds):
    """A producer that knows how its transactions ended, for so long; returns how often it was asked."""
    count, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            asked = c.pushed(CHECK, timeout=left)
        except TimeoutError:
            break
        count += 1
        key = asked.ext["msgId"]
        c.oneway(END, {"producerGroup": GROUP, "tranStateTableOffset": asked.ext["tranStateTableOffset"],
                       "commitLogOffset": asked.ext["commitLogOffset"], "commitOrRollback": ledger.outcomes[key],
                       "fromTransactionCheck": True, "msgId": key})
    return count


def check_late(cluster, ledger, final=False):
    """Nothing is there twice, early, or though it was rolled back; what was committed is there, and with `final` everything."""
    def count():
        found = {}
        for m in cluster.read_all(ledger.topic, ledger.queues):
            assert m.body in ledger.due, f"{m.body} was rolled back, or never sent, and is there"
            assert m.body not in found, f"{m.body} is there twice"
            assert m.store_ts >= ledger.due[m.body], f"{m.body} was due at {ledger.due[m.body]} and is there since {m.store_ts}"
            found[m.body] = m
        return found
    found = count()
    lost = ledger.committed - set(found)
    assert not lost, f"{len(lost)} messages were committed and are not there: {sorted(lost)[:5]}"
    if not final:
        return len(found)
    with cluster.broker() as c:
        assert c.call(34, body=heartbeat("late-final", producers=[GROUP])).code == 0
        time.sleep(max(0, max(ledger.due.values(), default=0) / 1000 - time.time()))
        def everything():
            answer_checks(c, ledger, 1)
            return ledger.acknowledged <= set(count())
        eventually(everything, 120, "every delayed and every committed message")
    return len(count())
