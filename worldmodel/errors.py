"""The errors that a user may see without a traceback."""


class UserError(Exception):
    """What the command line prints in one line after `error:`, with exit code 2; the three kinds of it are below."""


class InputError(UserError, ValueError):
    """Something given from outside (a file, a table, a config key, a size) cannot be used.

    The message is one line that names the file or key and the remedy.
    """


class MissingDependency(UserError, ImportError):
    """What was asked for needs a package that is not installed; the message says how to install it."""


class RunFailed(UserError, RuntimeError):
    """A run could not go on: a process of it died, or its numbers are finite no more. The message says what is kept."""


class Stopped(UserError):
    """A run was told to stop (SIGTERM, SIGUSR1, Ctrl-C) and has written a checkpoint; one line says where.

    The command line prints it and exits with `exit_code`, as a shell reports SIGTERM.
    """

    exit_code = 143


def first_line(error: Exception, most: int = 160) -> str:
    """What another library's error says, short enough to stand in brackets within a sentence of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]


def whole_message(error: BaseException, most: int | None = None) -> str:
    """The same with all of its lines in one, cut after `most` characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__
