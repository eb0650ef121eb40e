"""Groups of this project's consumers, and producers of transactions, in simulated clusters: the seeds of the unit tests and many
more, which the released program runs in seconds."""
import pytest

from servers import run
from test_exchange import program


@pytest.mark.parametrize("kind", ["concurrent", "orderly", "broadcasting", "pull", "transactions"])
def test_every_promise_holds(kind):
    """Nothing lost, doubled without cause, out of order or without an owner, whatever happens to members, networks, brokers and databases."""
    r = run(program("simulate"), kind, "0-299", timeout=300)
    assert r.returncode == 0, r.stdout[-3000:] + r.stderr[-1000:]
    assert "300 seeds, 0 with promises not kept" in r.stdout
