"""The conformance run of `fastring check`: a driver that somebody wrote, on our card, through what a kernel does to a driver.

`contract` says what a driver is here, `scenarios` what is done to it on a `bench`, `runner` keeps each in a process, `report` tells.
"""
