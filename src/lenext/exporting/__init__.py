"""Export: a network with its preprocessing as one file, verified before it is written, and engines to run it."""
