"""The scripts in bin: they build what is not fresh, run from anywhere, and stop what was started from their folder alone."""
import os
import shutil
import subprocess
import sys

import pytest
from servers import REPOSITORY, binary, free_port

FAKE_SWIFT = """#!/bin/sh
# Stands for the toolchain: notes how it was called, and "builds" a program by copying the real one.
echo "$*" >>"{calls}"
[ -z "${{FAIL:-}}" ] || {{ echo "Thing.swift:3:1: error: it does not compile"; exit 1; }}
sleep 0.3
for program; do :; done
cp "{binaries}/$program" "{release}/$program.new"
mv "{release}/$program.new" "{release}/$program"
"""


class Project:
    """A folder with the scripts, a source, and a toolchain that takes no time."""

    def __init__(self, root):
        self.root, self.calls = root, root / "calls"
        shutil.copytree(REPOSITORY / "bin", root / "bin")
        self.release = root / ".build" / "some-platform" / "release"
        self.release.mkdir(parents=True)
        (root / ".build" / "release").symlink_to(self.release)
        (root / "Sources").mkdir()
        (root / "Package.swift").touch()
        self.source = root / "Sources" / "Thing.swift"
        self.source.touch()
        tools = root / "tools"
        tools.mkdir()
        (tools / "swift").write_text(FAKE_SWIFT.format(calls=self.calls, binaries=binary("").resolve(), release=self.release))
        (tools / "swift").chmod(0o755)
        self.env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(root)}

    def popen(self, script, *args, **env):
        return subprocess.Popen([str(self.root / "bin" / script), *map(str, args)], env={**self.env, **env}, cwd="/", text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, script, *args, **env):
        p = self.popen(script, *args, **env)
        out, err = p.communicate(timeout=60)
        return p.returncode, out, err

    def builds(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def nameserver(self):
        """One that listens, started by the script."""
        port = free_port()
        settings = self.root / f"{port}.conf"
        settings.write_text(f"listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={self.root}/{port}.json\n")
        p = self.popen("mqnamesrv", "-c", settings)
        lines = []
        for line in p.stderr:
            lines.append(line)
            if "listens on" in line:
                return p
        raise AssertionError("".join(lines))


@pytest.fixture
def project(directory):
    return Project(directory / "project")


@pytest.fixture
def ended():
    """Processes put here have ended when the test is over."""
    made = []
    yield made
    for p in made:
        p.kill()
        p.communicate()


def test_built_once_until_a_source_changes(project):
    for _ in range(2):
        code, out, err = project.run("mqnamesrv", "--version")
        assert (code, out.split()[0]) == (0, "mqnamesrv"), err
    assert len(project.builds()) == 1
    assert project.builds()[0].endswith("-c release --static-swift-stdlib --product mqnamesrv")
    os.utime(project.source)
    code, out, err = project.run("mqnamesrv", "--version")
    assert code == 0 and "its sources have changed" in err and "building" not in out
    assert len(project.builds()) == 2
    project.source.unlink()
    project.run("mqnamesrv", "--version")
    assert len(project.builds()) == 3, "a source that is gone is a change, too"


def test_two_at_once_build_once(project):
    both = [project.popen("mqnamesrv", "--version") for _ in range(2)]
    for p in both:
        out, err = p.communicate(timeout=60)
        assert p.returncode == 0 and out.startswith("mqnamesrv "), err
    assert len(project.builds()) == 1


def test_failed_build_says_why_and_is_tried_again(project):
    code, out, err = project.run("mqnamesrv", "--version", FAIL="1")
    assert code != 0 and not out
    assert "Thing.swift:3:1: error: it does not compile" in err
    assert project.run("mqnamesrv", "--version")[0] == 0


def test_no_toolchain(project):
    """What is built runs without one; what is not names it."""
    tools = project.root / "bare"
    tools.mkdir()
    for tool in ("sh", "readlink", "dirname", "find", "mkdir", "cat"):
        (tools / tool).symlink_to(shutil.which(tool))
    code, _, err = project.run("mqnamesrv", "--version", PATH=str(tools))
    assert code == 1 and "swift is not on the PATH" in err
    assert project.run("mqnamesrv", "--version")[0] == 0
    assert project.run("mqnamesrv", "--version", PATH=str(tools))[0] == 0


def test_through_a_link(project):
    link = project.root / "elsewhere" / "ns"
    link.parent.mkdir()
    link.symlink_to(project.root / "bin" / "mqnamesrv")
    p = subprocess.run([str(link), "--version"], env=project.env, capture_output=True, text=True, timeout=60, cwd=link.parent)
    assert p.returncode == 0 and p.stdout.startswith("mqnamesrv "), p.stderr


def test_shutdown_stops_what_was_started_here_alone(project, directory, ended):
    other = Project(directory / "other")
    mine, theirs = project.nameserver(), other.nameserver()
    ended += [mine, theirs]
    # Something else of that name: a script, as the reference's is.
    script = directory / "mqnamesrv"
    script.write_text("import sys\nsys.stdin.read()\n")
    same_name = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE)
    ended.append(same_name)

    code, out, err = project.run("mqshutdown", "broker")
    assert code == 0 and out.endswith("mqbroker is not running\n"), out + err
    assert mine.poll() is None
    code, out, err = project.run("mqshutdown", "namesrv")
    assert code == 0, err
    assert f"mqnamesrv (process {mine.pid}) has stopped" in out
    assert f"mqnamesrv (process {theirs.pid}) is left alone" in out
    assert mine.wait(10) == 0
    assert theirs.poll() is None and same_name.poll() is None
    code, out, err = other.run("mqshutdown", "all")
    assert code == 0 and theirs.wait(10) == 0, out + err
    assert same_name.poll() is None


def test_shutdown_finds_a_program_that_was_built_anew_meanwhile(project, ended):
    p = project.nameserver()
    ended.append(p)
    os.utime(project.source)
    assert project.run("mqnamesrv", "--version")[0] == 0
    code, out, err = project.run("mqshutdown", "all")
    assert code == 0 and f"(process {p.pid}) has stopped" in out, err
    assert p.wait(10) == 0


@pytest.mark.parametrize("words", [[], ["everything"], ["broker", "namesrv"]])
def test_shutdown_of_what_it_does_not_know(project, words):
    code, out, err = project.run("mqshutdown", *words)
    assert code == 2 and not out and "namesrv" in err
