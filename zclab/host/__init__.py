"""What is read from a host and done to it, through its runner.

Interfaces, domains, CPU time, copies, consoles, netperf. Never knows a mode or a lab.
"""
