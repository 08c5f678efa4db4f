"""The one line that a user sees of an error."""

from errno import EACCES, EDQUOT, ENOENT, ENOSPC, EPERM, EROFS

from worldmodel.errors import UserError, whole_message

REMEDIES = {
    ENOSPC: "free some space or choose another folder",
    EDQUOT: "free some space or choose another folder",
    EACCES: "choose a folder and files that you may use",
    EPERM: "choose a folder and files that you may use",
    EROFS: "choose a folder that can be written",
    ENOENT: "check the path",
}


def one_line(error: BaseException) -> str | None:
    """The line that the user sees, or None where the traceback is worth more."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: finished files are kept, half-written ones are not"
    if isinstance(error, UserError):
        return whole_message(error)
    if isinstance(error, OSError):
        return os_error_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: choose fewer cameras, a smaller batch or a smaller size"
    return None


def os_error_line(error: OSError) -> str:
    """File, fault and, where there is one, remedy."""
    where = f"{error.filename}: " if error.filename else ""
    what = " ".join((error.strerror or str(error) or type(error).__name__).split())
    remedy = REMEDIES.get(error.errno or 0)
    named = "" if where else " (WORLDMODEL_TRACEBACK=1 shows where)"
    return f"{where}{what}" + (f": {remedy}" if remedy else "") + named
