"""Figures out of data, and what a person sees while a network trains."""
