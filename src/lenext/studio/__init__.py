"""The studio: a web application on this machine, for runs, trainings, data and audits. What takes long is a command."""
