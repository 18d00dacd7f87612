"""Looking into a network before and after training: layers and shapes, and why an image size does not fit."""
