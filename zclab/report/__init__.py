"""Rendering results for people: the terminal, Markdown, one HTML page. Nothing is measured here."""

import logging

# Before it is imported, as it warns then: of a home that it cannot keep its list of fonts in, which
# changes nothing, and that making it takes a moment.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
