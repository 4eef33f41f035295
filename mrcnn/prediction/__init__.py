"""Detection in image files, folders, videos and cameras, however many or long.

``predict`` reads, detects and writes; ``predictions`` gives the results to a loop of your own.
OpenCV is imported where there is a video.
"""

from mrcnn.prediction.predict import SAVE, Summary, predict, predictions  # noqa: F401
from mrcnn.prediction.sources import Frame, find_sources, read_frames  # noqa: F401
