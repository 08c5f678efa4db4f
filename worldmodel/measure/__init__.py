"""What a figure rests on: the machine, memory, seconds, FLOPs, and the scores of frames."""
