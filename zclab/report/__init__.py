"""Rendering results for people: the terminal, Markdown, one HTML page. Nothing is measured here."""
