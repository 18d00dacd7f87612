"""What the verbs do, as functions: train, val, predict, checks. They say what they do, and return it."""
