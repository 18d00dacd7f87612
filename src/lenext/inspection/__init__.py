"""Looking into a network before and after training: layers and shapes, and why a picture size does not fit."""
