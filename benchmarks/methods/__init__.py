"""The world models that the harness runs: one file each, all behind `method.Method`."""
