"""Networks that give each pixel a class (semantic segmentation), and their losses."""
