"""Batched inference. Knows no HTTP."""
