"""Virtual time: the machine, its saved states, trials, accounts, profiles, traces, known results.

Uses bench for what happens in a trial. Never has a second way to run one.
"""
