"""What `worldmodel benchmark` runs: quality over clips, and memory and latency, which need no clips."""
