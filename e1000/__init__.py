"""e1000: the Intel 82540EM gigabit Ethernet controller, as a device and as its driver, with a bus between them.

"The manual" is Intel's PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (8254x); § is a section of it.
"""
