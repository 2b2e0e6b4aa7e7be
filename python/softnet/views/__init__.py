"""What users see of devices: ip link, /sys/class/net, /proc/net/dev, in the words and columns of the tools they know."""
