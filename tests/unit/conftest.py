"""Rules: no input, no output, nothing started."""
