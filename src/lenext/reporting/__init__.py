"""Figures, charts, pages and tables, and the output of a training."""
