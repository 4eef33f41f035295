"""Install with `pip install -e .`, with extras as `pip install -e .[test]`."""
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version():
    """The version in mrcnn/__init__.py, read without importing the package."""
    text = (ROOT / "mrcnn" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)[1]


def read_requirements():
    """The lines of requirements.txt that are not comments."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def read_readme():
    """README.md, or nothing in a tree without it."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="mask-rcnn",
    version=read_version(),
    description="Mask R-CNN on TensorFlow 2 and Keras 3, in the shape of matterport/Mask_RCNN",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["mrcnn", "mrcnn.*"]),
    python_requires=">=3.10,<3.14",
    install_requires=read_requirements(),
    extras_require={
        "test": ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "scipy>=1.13", "scikit-learn>=1.5",
                 "nbclient>=0.10", "ipykernel>=6.29"],
        "digits": ["scikit-learn>=1.5"],  # of samples/digits.py
        "notebooks": ["jupyter", "nbclient>=0.10", "scikit-learn>=1.5"],  # for the notebook digits
        "tensorboard": ["tensorboard"],  # logs of training runs
        "gpu": ["tensorflow[and-cuda]>=2.18"],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
