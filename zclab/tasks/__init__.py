"""The tasks of ``invoke --list``, a module for each group: load, call, print.

Nothing imports this room but tasks.py.
"""
