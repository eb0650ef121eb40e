"""The pattern of Sources/RocketMQClient/README.md for transactions with PostgreSQL: its SQL, word by word, on a real server,
and the example that follows it. Skipped where PostgreSQL is not installed."""
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from servers import REPOSITORY, binary
from wire import eventually

README = (REPOSITORY / "Sources/RocketMQClient/README.md").read_text()
SQL = re.search(r"```sql\n(.*?)```", README, re.S).group(1)
ORDERS = "CREATE TABLE orders (id text PRIMARY KEY, amount int);"


def statement(start, *parameters):
    """The statement of the pattern that begins so, with its parameters in it."""
    text = re.search(rf"^{re.escape(start)}.*?;", SQL, re.M | re.S).group(0)
    for number, value in enumerate(parameters, 1):
        text = text.replace(f"${number}", f"'{value}'")
    return text


CLAIM = "INSERT INTO message_transactions (id, outcome) VALUES ($1, 'done')"
GIVE_UP = "INSERT INTO message_transactions (id, outcome) VALUES ($1, 'abandoned')"
LOOK = "SELECT outcome"


@pytest.fixture(scope="module")
def database(base):
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or not shutil.which("psql"):
        pytest.skip("PostgreSQL is not installed")
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    place = Path(subprocess.run(["mktemp", "-d", "/tmp/rocketmq-postgres-XXXXXX"], capture_output=True, text=True).stdout.strip())
    if as_user:
        shutil.chown(place, "postgres")

    def control(*words):
        subprocess.run([*as_user, str(programs[-1] / words[0]), *words[1:]], check=True, cwd="/", stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)

    control("initdb", "-D", str(place / "data"), "-A", "trust", "-U", "postgres")
    control("pg_ctl", "-D", str(place / "data"), "-l", str(place / "log"), "-w", "-o", f"-k {place} -c listen_addresses='' -p 5432", "start")
    try:
        made = ["psql", "-h", str(place), "-U", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1"]
        run(made, SQL.split("-- The local part")[0] + ORDERS)
        yield made
    finally:
        control("pg_ctl", "-D", str(place / "data"), "-m", "fast", "-w", "stop")
        shutil.rmtree(place, ignore_errors=True)


def run(database, text):
    r = subprocess.run(database, input=text, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    return r.stdout.split()


def check(database, transaction):
    run(database, statement(GIVE_UP, transaction))
    return run(database, statement(LOOK, transaction))


class LocalPart:
    """A local part that is under way: everything is done but its end."""

    def __init__(self, database, transaction):
        self.process = subprocess.Popen(database, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.process.stdin.write(f"BEGIN; {statement(CLAIM, transaction)}\n"
                                 + statement("INSERT INTO orders", "", transaction, 10).replace("$2", transaction) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == transaction

    def end(self, how):
        self.process.stdin.write(how + ";\n")
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.mark.parametrize("how, outcome", [("COMMIT", "done"), ("ROLLBACK", "abandoned")])
def test_a_check_waits_for_a_local_part_under_way_and_says_how_it_ended(database, how, outcome):
    transaction, said = f"t-{how}", []
    part = LocalPart(database, transaction)
    asking = threading.Thread(target=lambda: said.append(check(database, transaction)), daemon=True)
    asking.start()
    asking.join(1)
    assert not said, "the outcome is not known yet"
    part.end(how)
    asking.join(30)
    assert said == [[outcome]]
    assert run(database, f"SELECT count(*) FROM orders WHERE id = '{transaction}'") == ["1" if how == "COMMIT" else "0"]


def test_a_transaction_that_was_given_up_is_not_begun_any_more(database):
    assert check(database, "t-late") == ["abandoned"]
    assert run(database, statement(CLAIM, "t-late")) == [], "no row: roll back"
    assert check(database, "t-late") == ["abandoned"]
    run(database, statement("DELETE FROM message_transactions"))
    assert check(database, "t-late") == ["abandoned"], "a young row stays"


# -- the program that does it

STEPS = ["before the message is sent", "the broker has the message out of sight", "the order is inserted and not committed",
         "the order is committed and the broker not told"]
FAST = {"transactionCheckInterval": 300, "transactionTimeOut": 1000}


def test_the_text_shows_the_program_that_is_built():
    """The Swift of the text is that of the example, which the compiler reads: only its stops are left out."""
    shown = re.search(r"### PostgreSQL.*?```swift\n(.*?)```", README, re.S).group(1)
    built = (REPOSITORY / "Sources/Examples/PostgresOrders/OrderLedger.swift").read_text()
    assert shown == "".join(line for line in built.splitlines(keepends=True) if "Steps.reached" not in line)
    for line in re.findall(r'"((?:INSERT|SELECT)[^"]*)"', built):
        # The text's statements count their parameters through, as they are of one transaction there.
        pattern = re.escape(line).replace(r"\$1", r"\$\d").replace(r"\$2", r"\$\d")
        assert re.search(pattern, SQL), line


@pytest.fixture
def service(database, start):
    """service(words...) starts the example; what is in the database, and what was delivered."""
    program = binary("example-orders-postgres")
    if not program.exists():
        pytest.skip(f"no {program.name} in {program.parent}")
    server, _, cluster = start.cluster(**FAST)
    cluster.create_topic("OrdersPlaced")
    run(database, "DELETE FROM orders; DELETE FROM message_transactions;")
    started = []

    class Service:
        info = f"host={database[2]} user=postgres"

        def begin(self, *words):
            started.append(subprocess.Popen([str(program), "--namesrv", server.address, "--database", self.info, *words], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
            return started[-1]

        def agreed(self, wanted):
            """The orders are these, their messages are there and no others, and nothing is undecided."""
            def look():
                with cluster.broker() as c:
                    undecided = c.call(28).json()["table"]["transactionUndecidedCount"]
                delivered = sorted(m.props["KEYS"] for m in cluster.read_all("OrdersPlaced"))
                found = (sorted(run(database, "SELECT id FROM orders")), sorted(set(delivered)), undecided)
                return found == (wanted, wanted, "0")
            eventually(look, 30, f"orders and messages that are {wanted}")

    yield Service()
    for process in started:
        process.kill()
        process.wait()


def test_orders_and_messages_agree(service, database):
    p = service.begin("place", "a", "10", "b", "20", "a", "30", "c", "no number")
    said = p.communicate(timeout=60)[0]
    assert p.returncode == 0 and "order a: commit" in said.lower() and "order b: commit" in said.lower(), said
    service.begin("serve")
    service.agreed(["a", "b"])         # the second a, and what is no number, the database refused


@pytest.mark.parametrize("step", STEPS)
def test_the_service_is_killed_at_a_step(service, step):
    p = service.begin("--steps", "place", "x", "10")
    for line in p.stdout:
        if line.strip() == f"step: {step}":
            break
        p.stdin.write("\n")
        p.stdin.flush()
    p.kill()
    p.wait()
    service.begin("serve")
    service.agreed(["x"] if step == STEPS[-1] else [])


def test_a_database_that_cannot_be_reached_is_named(service, directory):
    service.info = f"host={directory} user=postgres"
    p = service.begin("place", "a", "10")
    said = p.communicate(timeout=60)[0]
    assert p.returncode == 1 and "cannot connect" in said and str(directory) in said, said
