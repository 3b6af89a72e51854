"""What NVML's error codes mean for the samples still to come.

The codes are those of nvmlReturn_t. The binding's error objects compare equal by code but are not
hashable, so everything goes by their integer `value`.
"""

from __future__ import annotations

# This call will never answer here: it is not made again.
NEVER = {
    2: "invalid argument",
    3: "not supported by this GPU or driver",
    4: "insufficient permissions",
    12: "a library of the driver is missing",
    13: "function not found in this driver",
    14: "the GPU's infoROM is corrupted",
    22: "not supported by this virtual GPU",
    24: "not supported at this frequency",
    25: "argument version mismatch: driver too old",
    26: "deprecated in this driver",
    30: "not supported by this GPU or driver",
}

# The GPU, or its driver, is gone for the rest of the run: it is not read any more.
LOST = {
    1: "the driver was shut down",
    9: "the driver was unloaded",
    15: "GPU is lost",
    16: "GPU requires a reset",
    18: "the driver was replaced by another version while it was in use",
    28: "GPU not found",
}

# All others are transient. These are no failure: there is no value just now. (The binding
# raises an error even of code 0, for processes without a sample.)
NOTHING = {
    0: "the driver has no entry",
    6: "the driver has no entry",
    21: "the driver has no data",
}

# Why NVML could not be initialised.
NO_NVML = {
    4: "no permission to use the NVIDIA driver",
    9: "NVIDIA driver is not loaded",
    12: "NVML shared library not found: no NVIDIA driver is visible here",
    13: "the NVML library lacks functions of NVML: it is no NVIDIA driver, or a broken one",
    18: "NVIDIA driver and NVML library differ in version: reboot or reload the driver",
}
