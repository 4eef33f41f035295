"""What every room may use, and that knows nothing of images or networks: files, downloads,
progress, tables.
"""
