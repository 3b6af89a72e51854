"""blobdiag: does your self-play use the GPU, and when will the training be done?"""

__version__ = "0.1.0"
