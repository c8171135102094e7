"""Labs: a host comes up or is reached, is prepared, and is given back.

Owns locks, names, keys and ways in. Never measures.
"""
