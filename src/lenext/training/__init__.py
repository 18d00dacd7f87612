"""Recipes, the state that training changes, and the loop that changes it."""
