"""Several devices and several machines: which ones there are, and what they exchange."""
