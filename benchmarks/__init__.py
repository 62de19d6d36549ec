"""Ratios against public tools on the same bytes in the same run. Imports nothing of the tests."""
