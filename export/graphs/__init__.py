"""The three graphs of an artifact as torch modules: encoder, one guided step, decoder."""
