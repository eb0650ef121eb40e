"""The example of orders in SQLite and their messages (`example-orders`): whoever is killed at whatever step, the orders in the
database and the messages that were delivered are the same in the end."""
import random
import signal
import sqlite3
import subprocess
import threading

import pytest
from servers import binary
from wire import Cluster, eventually

TOPIC = "OrdersPlaced"
FAST = {"transactionCheckInterval": 300, "transactionTimeOut": 1000}
STEPS = ["before the message is sent", "the broker has the message out of sight", "the order is inserted and not committed",
         "the order is committed and the broker not told", "the broker was told"]


class Example:
    """One process of the example."""

    def __init__(self, shop, *words):
        if not binary("example-orders").exists():
            pytest.skip(f"no example-orders in {binary('example-orders').parent}")
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            [str(binary("example-orders")), "--namesrv", shop.namesrv, "--database", str(shop.database), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1)
        threading.Thread(target=self.read, daemon=True).start()
        shop.examples.append(self)

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def reaches(self, step):
        """Goes on step by step until this one."""
        for current in STEPS[:STEPS.index(step)]:
            self.wait_for(current)
            self.go_on()
        self.wait_for(step)

    def wait_for(self, step):
        with self.changed:
            assert self.changed.wait_for(lambda: f"step: {step}" in self.lines, 30), self.lines

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def go_on_to_the_end(self):
        try:
            self.process.stdin.write("\n" * len(STEPS))
            self.process.stdin.close()
        except OSError:
            pass                       # it has ended
        self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Shop:
    def __init__(self, start, directory):
        self.server, self.broker, self.cluster = start.cluster(**FAST)
        self.namesrv, self.database, self.examples = self.server.address, directory / "orders.db", []
        self.cluster.create_topic(TOPIC)

    def example(self, *words):
        return Example(self, *words)

    def restart_broker(self):
        self.broker.kill()
        self.broker.start()
        self.cluster = Cluster(self.server.address)

    def table(self, query):
        with sqlite3.connect(self.database, timeout=30) as database:
            return sorted(row[0] for row in database.execute(query))

    def orders(self):
        return self.table("SELECT id FROM orders")

    def undecided(self):
        with self.cluster.broker() as c:
            return int(c.call(28).json()["table"]["transactionUndecidedCount"])

    def agreed(self):
        """The orders, when nothing is undecided and those and no others were delivered and shipped; else None."""
        orders = self.orders()
        delivered = {m.props["KEYS"] for m in self.cluster.read_all(TOPIC)}
        if self.undecided() == 0 and delivered == set(orders) and self.table("SELECT order_id FROM shipments") == orders:
            return (orders,)

    def settle(self):
        """Someone answers the broker, someone ships; the orders in the end."""
        self.example("serve")
        self.example("ship")
        return eventually(self.agreed, 60, "orders and messages that agree")[0]


@pytest.fixture
def shop(start, directory):
    made = Shop(start, directory)
    yield made
    for example in made.examples:
        example.kill()


PLACED_AFTER = STEPS.index("the order is committed and the broker not told")


@pytest.mark.parametrize("step", STEPS)
def test_the_service_is_killed(shop, step):
    p = shop.example("--steps", "place", "a", "10")
    p.reaches(step)
    p.kill()
    assert shop.settle() == (["a"] if STEPS.index(step) >= PLACED_AFTER else [])


@pytest.mark.parametrize("step", STEPS)
def test_the_broker_is_killed(shop, step):
    """The service goes on as far as it gets. What it was promised before the crash holds."""
    p = shop.example("--steps", "place", "a", "10")
    p.reaches(step)
    shop.restart_broker()
    p.go_on_to_the_end()
    orders = shop.settle()
    assert orders in ([], ["a"])
    if step != STEPS[0]:
        assert orders == ["a"]


@pytest.mark.parametrize("step", STEPS[1:3])
def test_the_service_hangs_and_another_answers_for_it(shop, step):
    """The other gives the transaction up: the one that wakes up must not place its order any more. Where it holds the
    database's lock, the other waits for it."""
    p = shop.example("--steps", "place", "a", "10")
    p.reaches(step)
    shop.example("serve")
    if step == STEPS[1]:
        eventually(lambda: shop.undecided() == 0, 30, "the outcome that another said")
    p.go_on_to_the_end()
    assert shop.settle() == ([] if step == STEPS[1] else ["a"])


def test_refused_orders_are_not_sent(shop):
    p = shop.example("place", "good", "10", "bad", "-1", "good", "10", "better", "20")
    assert p.process.wait(60) == 0
    assert shop.settle() == ["better", "good"]


def test_everyone_is_killed_at_random(shop):
    """Services that place orders, those that answer and ship, and the broker: again and again, at no particular moment."""
    rounds = random.Random(7)
    moment = threading.Event()
    for n in range(6):
        words = [word for i in range(60) for word in (f"{n}-{i:03}", "5")]
        placing, serving, shipping = shop.example("place", *words), shop.example("serve"), shop.example("ship")
        moment.wait(rounds.uniform(0.1, 1.0))
        if n % 2:
            shop.restart_broker()
            moment.wait(rounds.uniform(0.0, 0.5))
        for example in (placing, serving, shipping):
            example.process.send_signal(signal.SIGKILL)
            example.process.wait()
    orders = shop.settle()
    assert len(orders) == len(set(orders)) > 0
