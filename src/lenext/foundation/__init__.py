"""The base of every other room: errors, files, downloads, devices, seeds, progress, locks."""
