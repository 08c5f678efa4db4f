"""SIGTERM in the middle of a verb: exit 143, one sentence, nothing half written, no process left over."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worldmodel.cli.main import main
from worldmodel.termination import Terminated, end_with_parent, unwound_by_signals
from worldmodel.viewing.screenshot import _free_port

SAID = "ended by SIGTERM: finished files are kept, half-written ones are not"


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen]:
    """A verb in a session of its own, whose processes are ended whatever the test finds, or where that is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worldmodel", *words],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=end_with_parent,
    )  # fmt: skip
    try:
        yield process
    finally:
        for pid in living(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def living(session: int) -> list[int]:
    """Processes of a session that are no zombies; a viewer's own session counts to its starter's children."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state != "Z" and int(its_session) == session:
            found.append(int(entry.name))
    return found


def wait_for(what: Callable[[], object], process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def wait_until_gone(session: int) -> None:
    """Python's own resource tracker ends a moment after its process."""
    end = time.monotonic() + 10
    while living(session):
        assert time.monotonic() < end, living(session)
        time.sleep(0.05)


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ".part" in path.name]


VERBS = {
    "toyworld": ("data", "toyworld", "root=toy", "train_scenes=2", "val_scenes=2", "workers=2"),
    "predict": ("predict", "source=pictures", "chunks=500", "out=out"),
    "export": ("export", "checkpoint=tiny", "out=art"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_ends_clean(name: str, tmp_path: Path) -> None:
    pictures(tmp_path / "pictures")
    with started(tmp_path, *VERBS[name]) as process:
        wait_for(lambda: half_written(tmp_path), process)
        if name == "toyworld":
            wait_for(lambda: len(living(process.pid)) > 2, process)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143
        assert said.splitlines()[-1] == SAID and "Traceback" not in said
        wait_until_gone(process.pid)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_web_viewer_ends_with_its_verb(number: signal.Signals, status: int, tmp_path: Path) -> None:
    (tmp_path / "a.rrd").write_bytes(b"RRF2 is read by the viewer")
    with started(tmp_path, "view", "path=a.rrd", "mode=serve", f"port={_free_port()}") as process:
        wait_for(lambda: viewers_of(process.pid), process)
        viewers = viewers_of(process.pid)
        os.kill(process.pid, number)
        assert process.wait(60) == status
        for session in viewers:
            wait_until_gone(session)


def viewers_of(parent: int) -> list[int]:
    """Children that are Rerun by now; a moment before, each is a copy of its parent."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    return [pid for pid in found if b"rerun" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def pictures(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for number in range(17):
        Image.new("RGB", (192, 128), (number, 90, 90)).save(folder / f"{number}.png")


def test_a_worker_made_by_fork_ends_at_once() -> None:
    code = (
        "import os, signal, time\nfrom worldmodel.termination import unwound_by_signals\n"
        "with unwound_by_signals():\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try: time.sleep(60)\n"
        "        finally: print('unwound', flush=True)\n"
        "    time.sleep(0.3); os.kill(pid, signal.SIGTERM)\n"
        "    print(os.WTERMSIG(os.waitpid(pid, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{int(signal.SIGTERM)}\n"


def test_handlers_come_back_and_what_is_ignored_stays_ignored() -> None:
    before, reaped, complain = (
        signal.signal(signal.SIGHUP, signal.SIG_IGN),
        signal.getsignal(signal.SIGCHLD),
        threading.excepthook,
    )
    try:
        with pytest.raises(Terminated), unwound_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGCHLD) is reaped and threading.excepthook is complain
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_verb_leaves_its_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
