"""One module a verb: its keys, and the function that runs it."""
