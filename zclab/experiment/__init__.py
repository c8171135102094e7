"""Whole experiments: run-bench, ab, bisect, nightly, verify, bundles, and reading runs again.

Puts the rooms below together. Never declares a task.
"""
