"""Segmentation: for cimport only."""
