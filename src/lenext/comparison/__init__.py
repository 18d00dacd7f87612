"""Trainings that belong together: races of networks, variations of one, searches."""
