"""Equal answers, faster: what speeds up a network on a device. Each layer here has a test against torch's own."""
