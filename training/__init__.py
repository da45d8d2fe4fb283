"""The training half: a user's own text to a published model. Takes from service only what both halves must agree on."""

import importlib.util
import sys

if importlib.util.find_spec("torch") is None:
    sys.exit("error: this Python has no torch, which training needs: use `make train`, or .venv/bin/python after it")
