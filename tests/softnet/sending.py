"""Packets for a device's queue, and sending them one by one."""

from drivers import make_device

from softnet import SkBuff, dev_queue_xmit


def packets(count, size=60):
    return [bytes([i]) * size for i in range(count)]


def send(device, *contents, **fields):
    skbs = [SkBuff.from_bytes(content, dev=device) for content in contents]
    for skb in skbs:
        for name, value in fields.items():
            setattr(skb, name, value)
    return skbs, [dev_queue_xmit(skb) for skb in skbs]


def held_back(stack, driver, contents, *, limit=1_000_000):
    """A device whose queue is stopped and its qdisc has `contents`; woken, it takes `limit` bytes in one go."""
    device = make_device(stack, driver)
    device.txq.limit_min = limit
    send(device, bytes(60))
    driver.complete()  # the limit takes effect
    driver.sent.clear()
    device.txq.stop()
    send(device, *contents)
    return device
