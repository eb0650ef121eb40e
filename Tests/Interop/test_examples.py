"""What the examples say to a wrong call: the problem and how it is done, and an end with 2. What they do is tested elsewhere."""
import pytest
from servers import binary, run

EXAMPLES = ["quickstart", "ordered", "batch", "service", "litepull", "trace", "orders", "orders-postgres"]


def program(example):
    if not binary(f"example-{example}").exists():
        pytest.skip(f"no example-{example} in {binary(example).parent}")
    return f"example-{example}"


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("words,said", [
    (["--namesvr", "127.0.0.1:1"], "unknown option --namesvr"), (["--namesrv"], "--namesrv needs a value"),
    (["--namesrv", "--help"], "--namesrv needs a value"), (["--namesrv", "localhost"], "HOST:PORT"), (["--namesrv", "h:99999"], "HOST:PORT"),
    (["--namesrv", ""], "HOST:PORT"), (["-x"], "-x")])
def test_a_wrong_call_is_explained(example, words, said):
    if example == "orders-postgres" and said == "HOST:PORT":
        words = ["--database", "host=/none", "serve", *words]
        said = "HOST:PORT|cannot connect"
    r = run(program(example), *words, timeout=20)
    if example in ("orders", "orders-postgres") and words == ["-x"]:
        said = "place|--database"
    assert r.returncode == 2 or "cannot connect" in r.stdout, r
    assert any(part in r.stderr + r.stdout for part in said.split("|")), r
    assert r.returncode != 2 or f"Usage: example-{example}" in r.stderr


@pytest.mark.parametrize("example", EXAMPLES)
def test_help(example):
    r = run(program(example), "--help", timeout=20)
    assert r.returncode == 0 and r.stdout.startswith(f"Usage: example-{example}") and "--namesrv" in r.stdout and not r.stderr


@pytest.mark.parametrize("example,words,said", [
    ("orders", ["place"], "pairs"), ("orders", ["place", "a"], "pairs"), ("orders", ["place", "a", "ten"], "ten"),
    ("orders", ["serve", "more"], "more"), ("orders", ["sell"], "sell"), ("orders-postgres", ["place", "a", "1"], "--database"),
    ("orders-postgres", ["--database", "x", "sell"], "place"), ("service", ["--follow", "T", "--seconds", "soon"], "--seconds"),
    ("ordered", ["--follow", "T", "--seconds", "0"], "--seconds"), ("ordered", ["surplus"], "surplus")])
def test_what_an_example_wants(example, words, said):
    r = run(program(example), *words, timeout=20)
    assert r.returncode == 2 and said in r.stderr, r
