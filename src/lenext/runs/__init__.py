"""A run on disk: its folder, its weights, and predictions from them."""
