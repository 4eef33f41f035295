"""Keras layers that any network may use."""
