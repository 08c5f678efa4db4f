"""What predictions are measured with: every metric streams, adds up over processes, and says what it was made with."""
