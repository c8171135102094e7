"""Rendering: terminal, page, Markdown, JUnit. Never computes a figure."""

import logging

# Before it is imported, as it warns then: of a home that it cannot keep its list of fonts in, which
# changes nothing, and that making it takes a moment.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
