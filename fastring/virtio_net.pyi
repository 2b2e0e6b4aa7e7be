from typing import Final

VIRTIO_NET_HDR_F_NEEDS_CSUM: Final[int]
VIRTIO_NET_HDR_F_DATA_VALID: Final[int]
VIRTIO_NET_HDR_GSO_NONE: Final[int]
VIRTIO_NET_HDR_GSO_TCPV4: Final[int]
VIRTIO_NET_HDR_GSO_UDP: Final[int]
VIRTIO_NET_HDR_GSO_TCPV6: Final[int]
VIRTIO_NET_HDR_GSO_UDP_L4: Final[int]
VIRTIO_NET_HDR_GSO_ECN: Final[int]
VNET_HEADERS: Final[int]
VNET_LONGEST: Final[int]

def finish(header: bytes, packet: bytes, *, batch: int = 256) -> list[bytes]: ...
