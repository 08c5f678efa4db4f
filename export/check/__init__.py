"""Whether an artifact will build where it is meant to run, found out on a machine without a GPU."""
