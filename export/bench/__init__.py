"""`worldmodel export bench`: an artifact's parts timed beside the torch that it was exported from."""
