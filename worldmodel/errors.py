"""The one error that a user may see without a traceback."""


class InputError(ValueError):
    """Something given from outside (a file, a table, a config key, a size) cannot be used.

    The message is one line that names the file or key and the remedy. The command line prints it
    after `error:` and exits with code 2; Python callers may catch it as a `ValueError`.
    """
