"""Networks that give each pixel a class: a file for each, and what they share."""
