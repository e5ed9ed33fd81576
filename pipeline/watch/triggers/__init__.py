"""Triggers of a retraining: pure functions of arrays and numbers, each with its threshold in its signature.

Each returns a `Decision` with all its figures, fired or not. Nothing here reads a database or a clock.
`pipeline.watch.observed` lists the triggers and calls them.
"""
