"""The user's YAML: labs, suites and gates, from text with line numbers to values.

Reports every mistake of a file at once, with its line. Never runs a command.
"""
