"""Trainings that belong together: races of networks, variations of one, reproductions of published results, lessons."""
