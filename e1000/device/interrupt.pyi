"""Interrupts as messages, throttling, waiting: for cimport only."""
