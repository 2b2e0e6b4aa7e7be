"""CaptureError: one line saying which file, where in it, what is wrong and what would be right; and the names it uses."""

LINKTYPES: dict[int, str]
PCAP_MAGIC: dict[int, int]
SECTION_MAGIC: bytes
MODIFIED_PCAP: dict[int, str]
OTHER_FORMATS: tuple[tuple[bytes, str], ...]

def linktype_name(number: int) -> str: ...
def printable(text: str) -> str: ...
def not_a_capture(head: bytes) -> str: ...

class CaptureError(ValueError):
    filename: str
    offset: int
    reason: str
    def __init__(self, filename: str, offset: int, reason: str) -> None: ...
