"""Packets for a device's queue, and sending them one by one."""

from softnet import SkBuff, dev_queue_xmit


def packets(count, size=60):
    return [bytes([i]) * size for i in range(count)]


def send(device, *contents, **fields):
    skbs = [SkBuff.from_bytes(content, dev=device) for content in contents]
    for skb in skbs:
        for name, value in fields.items():
            setattr(skb, name, value)
    return skbs, [dev_queue_xmit(skb) for skb in skbs]
