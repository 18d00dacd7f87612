"""The prediction service: one socket, several worker processes, each with its models, and a supervisor of them."""
