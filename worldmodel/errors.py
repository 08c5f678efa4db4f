"""The errors that a user may see without a traceback."""


class InputError(ValueError):
    """Something given from outside (a file, a table, a config key, a size) cannot be used.

    The message is one line that names the file or key and the remedy. The command line prints it
    after `error:` and exits with code 2; Python callers may catch it as a `ValueError`.
    """


class Stopped(Exception):
    """A run was told to stop (SIGTERM, SIGUSR1, Ctrl-C) and has written a checkpoint; one line says where.

    The command line prints it and exits with `exit_code`, as a shell reports SIGTERM.
    """

    exit_code = 143
