"""What the machine does while a workload runs: NVML, psutil, and the trace they leave."""
