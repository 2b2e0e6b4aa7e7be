"""The driver of the 82540EM: reaches the card through a bus alone, and offers softnet a net_device."""

from e1000.driver.control import E1000Adapter
from e1000.driver.pci import probe, remove, resume, suspend

__all__ = ["E1000Adapter", "probe", "remove", "resume", "suspend"]
