"""A video to test with."""

import numpy as np


def write_video(path, frames, size=(64, 48)):
    """Motion JPEG of 10 frames per second; the frames are of one colour, (40 * number, 80, 20)."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((*size[::-1], 3), (20, 80, 40 * number), np.uint8))
    writer.release()
