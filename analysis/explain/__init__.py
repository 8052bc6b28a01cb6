"""Why each frame is as it is, a sentence each."""
