"""Videos: which frames a file has and when, and reading them by PyAV or decord."""
