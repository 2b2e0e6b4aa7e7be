"""For tests of the control plane: a driver that notes what is asked of it, a notifier that notes what it hears; both can refuse."""

import errno

from softnet import NETDEV_TX_OK, Feature, NetDevice

MAC = bytes.fromhex("525400000001")


class QuietDriver:
    """The least driver: packets are sent at once."""

    def open(self, device):
        pass

    def stop(self, device):
        pass

    def start_xmit(self, skb, device):
        skb.consume()
        return NETDEV_TX_OK


class NotingDriver(QuietDriver):
    """Every optional operation of the control plane. `calls`: what was asked; `fails`: the operations that answer with EIO."""

    def __init__(self, *fails):
        self.calls, self.fails = [], set(fails)

    def _note(self, name, *arguments):
        self.calls.append((name, *arguments) if arguments else name)
        if name in self.fails:
            raise OSError(errno.EIO, f"{name} failed")

    def init(self, device):
        self._note("init")

    def uninit(self, device):
        self._note("uninit")

    def open(self, device):
        self._note("open")

    def stop(self, device):
        self._note("stop")

    def validate_addr(self, device):
        self._note("validate_addr")

    def set_rx_mode(self, device):
        assert device.addr_lock.held
        self._note("set_rx_mode")

    def set_mac_address(self, device, address):
        assert device.stack.rtnl.held
        self._note("set_mac_address", address)

    def change_mtu(self, device, mtu):
        assert device.stack.rtnl.held
        self._note("change_mtu", mtu)

    def set_features(self, device, features):
        assert device.stack.rtnl.held
        self._note("set_features")

    def vlan_rx_add_vid(self, device, proto, vid):
        self._note("add_vid", vid)

    def vlan_rx_kill_vid(self, device, proto, vid):
        self._note("kill_vid", vid)


class Listener:
    """A notifier: `heard` is what it was told, by event names; what is in `refuses` it answers with EBUSY."""

    def __init__(self, *refuses):
        self.heard, self.refuses = [], set(refuses)

    def __call__(self, event, device):
        assert device.stack.rtnl.held
        self.heard.append(event.name)
        if event.name in self.refuses:
            raise OSError(errno.EBUSY, f"{event.name} refused")


def new_device(stack, driver=None, **options):
    """A device, not registered; it gathers, so that its registering leaves its features as they are."""
    device = NetDevice(stack, NotingDriver() if driver is None else driver, dev_addr=MAC, **options)
    device.features |= Feature.SG
    return device
