"""NVIDIA GPUs through NVML: devices, NVML calls, errors, GPM, the driver's sample buffer."""
