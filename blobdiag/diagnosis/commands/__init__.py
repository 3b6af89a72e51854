"""The judgement of each command's report: its checks, and its answer in one sentence."""
