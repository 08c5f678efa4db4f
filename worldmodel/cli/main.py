"""`worldmodel VERB [key=value ...]`: find the verb, compose its settings, run it, end with one line and a status.

Nothing but the standard library is imported before a verb is known, so that `worldmodel --help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from worldmodel.cli.errors import one_line
from worldmodel.cli.verbs import VERBS, Verb
from worldmodel.errors import InputError, Stopped
from worldmodel.termination import Terminated, unwound_by_signals
from worldmodel.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 after one line `error: ...`, 143 where SIGTERM ended it."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with unwound_by_signals():
            run(words)
        sys.stdout.flush()
        return 0
    except Terminated as ending:
        print(ending, file=sys.stderr)
        return ending.exit_code
    except BrokenPipeError:  # `worldmodel --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        message = one_line(error)
        if message is None or os.environ.get("WORLDMODEL_TRACEBACK") == "1":
            raise
        if isinstance(error, Stopped):
            print(message, file=sys.stderr)
            return error.exit_code
        print(f"error: {message}", file=sys.stderr)
        return 2


def run(words: list[str]) -> None:
    """The words of one command line; raises whatever its verb raises."""
    if not words or words[0] in ("-h", "--help", "help"):
        from worldmodel.cli.help import general_help

        print(general_help())
    elif words[0] == "--version":
        print(f"worldmodel {__version__}")
    else:
        name, rest = split_verb(words)
        run_verb(name, VERBS[name], rest)


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb (one or two words) and what follows it."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in VERBS:
            return name, words[length:]
    seconds = [verb.split()[1] for verb in VERBS if verb.startswith(f"{words[0]} ")]
    if seconds and words[1:2] in ([], ["-h"], ["--help"]):
        raise InputError(f"{words[0]!r} needs a second word: worldmodel {words[0]} {' | '.join(seconds)}")
    raise InputError(f"no verb {' '.join(words[:2])!r}: choose one of {', '.join(VERBS)} (worldmodel --help)")


def run_verb(name: str, verb: Verb, words: list[str]) -> None:
    """Composes the settings from the words and calls the verb's function with them, or shows them."""
    from worldmodel.cli.compose import as_yaml, compose, composed_values

    flags, words, folder = take_flags(words)
    if folder is not None and not verb.presets:
        raise InputError(f"--config-dir {folder}: {name} has no presets; leave it out")
    config_class = verb.load(verb.config)
    if "--help" in flags:
        from worldmodel.cli.help import verb_help

        print(verb_help(name, verb, config_class, composed_values(config_class, [])))
    elif "--cfg" in flags:
        print(as_yaml(composed_values(config_class, words, verb.positional, verb.presets, folder)), end="")
    else:
        config = compose(config_class, words, verb.positional, verb.presets, folder)
        verb.load(verb.function)(config)


def take_flags(words: list[str]) -> tuple[set[str], list[str], Path | None]:
    """Separates `--help`, `--cfg` and `--config-dir DIR` from the settings."""
    flags, rest, folder = set(), [], None
    queue = iter(words)
    for word in queue:
        if word in ("-h", "--help", "--cfg"):
            flags.add("--help" if word == "-h" else word)
        elif word == "--config-dir":
            folder = Path(next(queue, ""))
        elif word.startswith("--") or word == "-":
            raise InputError(f"no flag {word}: settings are written key=value (worldmodel VERB --help lists the keys)")
        else:
            rest.append(word)
    return flags, rest, folder


if __name__ == "__main__":
    sys.exit(main())
