"""blobdiag: does your self-play use the GPU, and when will the training be done?"""

from blobdiag.targets.program.inside.site.blobdiag_marks import phase, progress

__all__ = ["phase", "progress"]
__version__ = "0.1.0"
