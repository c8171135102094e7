"""Runs as data: the plan, results and their store, what a run is resumed from, stored profiles.

Never renders, and never touches a host.
"""
