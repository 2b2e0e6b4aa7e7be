"""Interrupt moderation: for cimport only."""
