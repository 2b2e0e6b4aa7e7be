"""A driver that has every one of the ethtool_ops, for tests of who asks it."""

MODES = ("10baseT/Half", "10baseT/Full", "100baseT/Half", "100baseT/Full", "1000baseT/Full")


class Ops:
    """A driver that has it all; `calls`: what it was asked to change."""

    def __init__(self):
        self.calls = []
        self.blinks = 0
        self.rings = {"rx_max_pending": 100, "tx_max_pending": 200, "rx_pending": 10, "tx_pending": 20}
        self.coalesce = {"rx_coalesce_usecs": 3, "use_adaptive_rx_coalesce": 0}
        self.link = {"speed": 100, "duplex": "half", "autoneg": False, "port": "mii", "supported": MODES, "advertising": MODES[:3]}
        self.pause = {"autoneg": True, "rx_pause": False, "tx_pause": False}

    def get_drvinfo(self, device):
        return {"driver": "ops", "version": "1", "fw_version": "2", "bus_info": "here"}

    def get_link_ksettings(self, device):
        assert device.stack.rtnl.held
        return self.link

    def nway_reset(self, device):
        self.calls.append("nway_reset")

    def set_link_ksettings(self, device, **settings):
        assert device.stack.rtnl.held
        self.calls.append(settings)

    def get_link(self, device):
        return True

    def get_ringparam(self, device):
        return self.rings

    def set_ringparam(self, device, **settings):
        assert device.stack.rtnl.held
        self.calls.append(settings)

    def get_coalesce(self, device):
        return self.coalesce

    def set_coalesce(self, device, **settings):
        self.calls.append(settings)

    def get_pauseparam(self, device):
        return self.pause

    def set_pauseparam(self, device, **settings):
        self.calls.append(settings)

    def get_wol(self, device):
        return {"supported": "gu", "wolopts": "g", "sopass": b""}

    def set_wol(self, device, **settings):
        self.calls.append(settings)

    def get_msglevel(self, device):
        return 7

    def set_msglevel(self, device, level):
        self.calls.append(level)

    def get_eeprom_len(self, device):
        return 8

    def get_eeprom(self, device, offset, length):
        return 0x1234, bytes(range(8))[offset : offset + length]

    def set_eeprom(self, device, data, *, magic, offset):
        self.calls.append((magic, offset, data))

    def set_phys_id(self, device, state):
        assert device.stack.rtnl.held
        self.calls.append(state)
        return self.blinks

    def self_test(self, device, *, offline):
        return {"Link test": int(offline)}
