"""The stages of bench/cuda_check.py."""
