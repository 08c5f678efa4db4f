"""How a process of ours answers, refuses and ends."""

import signal
from pathlib import Path

import pytest

from worldmodel.errors import InputError
from worldmodel.export.subprocess_json import Child

MODULE = """
import json, os, signal, sys
asked = json.loads(sys.argv[1])
print("on the way")
if "die" in asked:
    os.kill(os.getpid(), signal.SIGSEGV)
if "fail" in asked:
    raise ValueError("odd")
print(json.dumps({"refused": "no"} if "refuse" in asked else {"twice": 2 * asked["number"]}))
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    (tmp_path / "a_module_of_ours.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Child("a_module_of_ours", "the child", killed="a", crashed="b", failed="c")


def test_its_last_line_is_the_answer(child: Child) -> None:
    assert child.answer({"number": 21}) == {"twice": 42}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("refuse", "^no$"),
        ("die", r"^the child crashed \(SIGSEGV\); b$"),
        ("fail", r"^the child failed \(ValueError: odd\); c$"),
    ],
)
def test_how_it_ended(child: Child, asked: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        child.answer({asked: 1, "number": 1})


def test_a_killed_process_most_likely_lacked_memory(child: Child) -> None:
    assert child.ending(-signal.SIGKILL, "") == "the child was killed, most likely for memory; a"
    assert child.ending(3, "") == "the child failed (exit code 3); c"
