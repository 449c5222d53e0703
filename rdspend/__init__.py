"""rdspend: what the compute money of an AI organisation went to."""
