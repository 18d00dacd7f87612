"""The studio: its guard, its answers, its commands, and its page in a real browser."""
