"""A module of ours in a process of its own, asked with JSON and answering with a line of it; standard library only."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldmodel.errors import InputError


@dataclass(frozen=True)
class Child:
    """Which module, and what people are told about its end.

    Attributes:
        module: run as `python -m`; its last line on stdout is JSON, {"refused": "..."} where it cannot.
        subject: what sentences call it.
        killed, crashed, failed: what to do then.
    """

    module: str
    subject: str
    killed: str
    crashed: str
    failed: str

    def answer(self, question: Mapping[str, object]) -> dict[str, Any]:
        """Run it to its end.

        Raises:
            InputError: what it refused, or how its process ended.
        """
        command = [sys.executable, "-m", self.module, json.dumps(question)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        if done.returncode:
            raise InputError(self.ending(done.returncode, done.stderr))
        answer = json.loads(done.stdout.strip().rpartition("\n")[2])
        if "refused" in answer:
            raise InputError(answer["refused"])
        return dict(answer)

    def ending(self, code: int, log: str) -> str:
        """How a process with this exit code and stderr ended, for people."""
        if code == -signal.SIGKILL:
            return f"{self.subject} was killed, most likely for memory; {self.killed}"
        if code < 0:
            return f"{self.subject} crashed ({signal.Signals(-code).name}); {self.crashed}"
        last_line = log.strip().rpartition("\n")[2][:300]
        return f"{self.subject} failed ({last_line or f'exit code {code}'}); {self.failed}"
