"""The commands of `fastring`, a module each: `parser()`, and `run(arguments)`, which gives the exit status and what to print.

What is wrong with the arguments or the input is raised: OSError, ValueError; `softnet.cli` makes one line of it, and status 2.
"""

# In the order of `fastring --help`.
COMMANDS = {
    "replay": "send the frames of captures through a card",
    "capture": "write what arrives on a wire to a capture",
    "forward": "forward packets between two cards, as testpmd does",
    "rewrite": "write a capture anew, filtered and edited",
    "generate": "send generated packets through a card, and tell what became of them",
    "rfc2544": "search for the highest rate at which nothing is lost, and measure latency",
    "serve": "serve a card to a virtual machine",
    "diff": "compare two captures frame by frame",
    "trace": "print what a trace recorded, or convert it",
    "bench": "measure rings, pools and driver on this machine, and recommend what to choose on it",
    "check": "run a network driver of yours on the card, and tell what it does wrong",
}
