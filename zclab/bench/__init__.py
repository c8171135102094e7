"""Executing a plan: boot a guest, check, measure, gather evidence; one trial after the other.

Never judges a figure.
"""
