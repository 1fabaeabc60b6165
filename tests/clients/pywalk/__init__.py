"""The walk in Python: see walk.py."""
