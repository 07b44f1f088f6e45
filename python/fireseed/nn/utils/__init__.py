"""Utilities for parameters and sequences."""
