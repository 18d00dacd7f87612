"""What every other room stands on: errors, files, downloads, the device, normalization."""
