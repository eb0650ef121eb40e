"""The store, the broker, groups of consumers and everything that reads bytes, through random histories and random damage: the
seeds of the unit tests and thousands more, which the released program runs in seconds. README of RocketMQTesting says what must hold."""
import re

import pytest

from servers import run
from test_exchange import program


def torture(kind, seeds):
    r = run(program("mqtorture"), kind, seeds, timeout=600)
    assert r.returncode == 0, r.stdout[-3000:] + r.stderr[-1000:]
    assert "every promise held" in r.stdout + r.stderr
    return r.stdout + r.stderr


@pytest.mark.parametrize("kind, count", [("store", 4000), ("broker", 900), ("consumers", 50)])
def test_every_promise_holds(kind, count):
    """Nothing acknowledged lost by kills, losses of power or faults of the disk at any write; no damaged record served."""
    said = torture(kind, f"0-{count - 1}")
    assert f"{count} histories" in said


def test_a_million_damaged_inputs():
    """Records, frames, tables and files with random changes are read or refused: nothing ends the process."""
    said = torture("fuzz", "0-7999")
    assert sum(int(n) for n in re.findall(r"(\d+) [a-z]", said.split("damaged:")[-1])) > 1_000_000
