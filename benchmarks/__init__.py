"""Measured comparisons; `python -m benchmarks.NAME` prints one table and writes `results/NAME-MACHINE.json`."""
