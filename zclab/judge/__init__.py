"""From samples to verdicts: statistics, cells, comparisons, costs, sweeps, trends.

Pure functions of runs. Never touches a runner.
"""
