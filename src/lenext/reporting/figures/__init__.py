"""Figures, one module a kind. Each function takes arrays and returns a matplotlib Figure; none opens a window."""
