"""Rings measured: what `fastring bench` shows, and bench/ holds against other people's. Needs no compiler.

`rings` measures ours, between threads, and with a `Partner` between processes; `series` takes turns and tells medians, spreads and ratios;
`machine` tells what it ran on, and whether that was quiet.
"""
