"""LTX-Video: its backbone, its positions in time, its official files, and the sizes in which it is made."""
