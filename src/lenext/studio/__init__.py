"""The studio: a web application on this machine, for runs, trainings, data and audits. Every work is a command."""
