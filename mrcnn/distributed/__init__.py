"""Several devices and several machines: which there are, and sums over them."""
