"""NVML: devices, queries, errors."""
