"""What tests/fuzz/fuzz_vfio_user.pyx found in the server, and what a client could do that it cannot."""

import pytest
from test_vfio_user_server import Client, client, server  # noqa: F401 - fixtures


@pytest.mark.parametrize("flags", [1, 2, 0xF])
def test_what_is_no_command_gets_no_reply_however_long_it_is(server, client, flags):  # noqa: F811
    client.send(13, bytes((1 << 20) + 5000), flags=flags)
    assert client.read(7, 0, 2) == b"\x86\x80"
    client.send(13, size=15, flags=flags)
    with pytest.raises((EOFError, ConnectionError)):
        client.reply()
    Client(server.path)
