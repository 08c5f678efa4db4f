"""Wan 2.1 text to video: its backbone, its official files, and the sizes in which it is made."""
