"""Interrupts as messages: for cimport only."""
