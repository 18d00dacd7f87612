"""What is claimed of speed, measured beside others: each module is a command that prints a table and keeps JSON."""
