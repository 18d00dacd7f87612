"""The verbs as functions: they print what they do, and return the result."""
