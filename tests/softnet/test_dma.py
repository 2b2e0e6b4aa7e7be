"""The DMA API of drivers in Python: what a card can reach, and when."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e1000.bus import HostMemory
from softnet.dma import DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, DmaDevice, DmaMisuse


@pytest.fixture
def memory():
    with HostMemory(size=1 << 20) as memory:
        yield memory
        assert memory.arena.allocated == 0


@pytest.fixture(params=[False, True], ids=["direct", "swiotlb"])
def dma(memory, request):
    return DmaDevice(memory, swiotlb=request.param)


@pytest.fixture
def watcher():
    class Watcher:
        def __init__(self):
            self.calls, self.misuses = [], []

        def dma_mapped(self, device, mapping):
            self.calls.append(("mapped", mapping.handle))

        def dma_unmapping(self, device, mapping):
            self.calls.append(("unmapping", mapping.handle, bytes(mapping.view)))

        def dma_synced(self, device, mapping, *, for_device):
            self.calls.append(("device" if for_device else "cpu", mapping.handle, mapping.device_owned))

        def dma_misuse(self, device, misuse, message):
            self.misuses.append(misuse)

    watcher = Watcher()
    DmaDevice.watchers.append(watcher)
    yield watcher
    DmaDevice.watchers.remove(watcher)


def refused(match):
    return pytest.raises(OSError, match=match)


# --- coherent memory ---


def test_coherent_memory_is_seen_by_both_at_once_and_is_zeroed(dma, memory):
    view, handle = dma.dma_alloc_coherent(100)
    assert handle % 4096 == 0
    assert bytes(view) == bytes(100)
    view[10:13] = b"cpu"
    assert memory.addresses.read(handle + 10, 3) == b"cpu"
    memory.addresses.write(handle + 20, b"card")
    assert bytes(view[20:24]) == b"card"
    dma.dma_free_coherent(100, handle)
    assert not dma.mappings


def test_a_view_of_freed_coherent_memory_cannot_be_used(dma):
    view, handle = dma.dma_alloc_coherent(16)
    words = view.cast("Q")
    dma.dma_free_coherent(16, handle)
    with pytest.raises(ValueError, match="released"):
        view[0] = 1
    del words


def test_coherent_memory_that_there_is_not_is_enomem(dma):
    with pytest.raises(OSError, match="no free") as error:
        dma.dma_alloc_coherent(1 << 21)
    assert error.value.errno == errno.ENOMEM
    assert not dma.mappings


# --- streaming mappings ---


def test_what_is_mapped_to_the_device_it_reads_and_cannot_write(memory):
    dma = DmaDevice(memory)
    handle = dma.dma_map_single(b"packet", DMA_TO_DEVICE)
    assert memory.addresses.read(handle, 6) == b"packet"
    with pytest.raises(OSError, match="not mapped writable"):
        memory.addresses.write(handle, b"x")
    dma.dma_unmap_single(handle, 6, DMA_TO_DEVICE)
    with pytest.raises(OSError, match="are not mapped"):
        memory.addresses.read(handle, 6)


def test_what_the_device_wrote_is_there_after_unmap(dma, memory):
    buffer = bytearray(64)
    handle = dma.dma_map_single(memoryview(buffer)[16:48], DMA_FROM_DEVICE)
    memory.addresses.write(handle, b"received")
    dma.dma_unmap_single(handle, 32, DMA_FROM_DEVICE)
    assert bytes(buffer[16:24]) == b"received"
    buffer += b"it is not held any more"


def test_a_buffer_is_held_while_it_is_mapped(dma):
    buffer = bytearray(64)
    handle = dma.dma_map_single(buffer, DMA_FROM_DEVICE)
    with pytest.raises(BufferError):
        buffer += b"more"
    dma.dma_unmap_single(handle, 64, DMA_FROM_DEVICE)


def test_through_swiotlb_each_side_sees_the_others_bytes_after_a_sync_and_not_before(memory):
    dma = DmaDevice(memory, swiotlb=True)
    buffer = bytearray(b"first...")
    handle = dma.dma_map_single(buffer, DMA_BIDIRECTIONAL)
    assert memory.addresses.read(handle, 8) == b"first..."
    memory.addresses.write(handle, b"card")
    assert buffer == b"first..."
    dma.dma_sync_single_for_cpu(handle, 4, DMA_BIDIRECTIONAL)
    assert buffer == b"cardt..."
    buffer[:] = b"whole cp"
    dma.dma_sync_single_for_device(handle, 5, DMA_BIDIRECTIONAL)
    assert memory.addresses.read(handle, 8) == b"whole..."
    dma.dma_unmap_single(handle, 8, DMA_BIDIRECTIONAL)
    assert buffer == b"whole..."


@pytest.mark.parametrize(("buffer", "direction"), [(b"", DMA_TO_DEVICE), (b"x", DMA_FROM_DEVICE), (b"x", DMA_BIDIRECTIONAL)])
def test_nothing_and_read_only_memory_for_a_device_that_writes_are_refused(dma, buffer, direction):
    with refused("dma_map_single: ") as error:
        dma.dma_map_single(buffer, direction)
    assert error.value.errno == errno.EINVAL
    assert not dma.mappings


@given(
    swiotlb=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from(["coherent", "to", "from", "free"]), st.integers(1, 5000), st.integers(0, 99)), max_size=40),
)
def test_whatever_is_mapped_and_freed_the_card_reaches_what_is_mapped_and_no_more(swiotlb, steps):
    with HostMemory(size=1 << 20) as memory:
        dma, live, read = DmaDevice(memory, swiotlb=swiotlb), [], memory.addresses.read
        for number, (what, size, which) in enumerate(steps):
            content = bytes([number + 1]) * size
            if what == "free" and live:
                handle, size, direction, buffer = live.pop(which % len(live))
                if direction is None:
                    dma.dma_free_coherent(size, handle)
                else:
                    dma.dma_unmap_single(handle, size, direction)
                    buffer += b"free again"
            elif what == "coherent":
                view, handle = dma.dma_alloc_coherent(size)
                view[:] = content
                live.append((handle, size, None, content))
            elif what != "free":
                direction, buffer = DMA_TO_DEVICE if what == "to" else DMA_FROM_DEVICE, bytearray(content)
                handle = dma.dma_map_single(buffer, direction)
                if direction is DMA_FROM_DEVICE:
                    memory.addresses.write(handle, content)
                live.append((handle, size, direction, buffer))
            assert all(read(handle, size) == bytes(content) for handle, size, _, content in live)
            assert sorted(mapping.handle for mapping in dma.mappings) == sorted(handle for handle, *_ in live)
            expected = sum(size for _, size, direction, _ in live if direction is None or swiotlb)
            assert memory.arena.allocated == expected
            assert len(memory.addresses.regions) == 1 + (0 if swiotlb else sum(direction is not None for *_, direction, _ in live))
        give_back(dma)
        assert memory.arena.allocated == 0
        assert len(memory.addresses.regions) == 1


# --- misuse ---


def misuses(dma):
    """Each misuse of what two pieces of memory allow, as a call."""
    _, ring = dma.dma_alloc_coherent(64)
    buffer = dma.dma_map_single(bytearray(64), DMA_FROM_DEVICE)
    return {
        DmaMisuse.NOT_MAPPED: lambda: dma.dma_unmap_single(buffer + 1, 64, DMA_FROM_DEVICE),
        DmaMisuse.WRONG_FUNCTION: lambda: dma.dma_unmap_single(ring, 64, DMA_BIDIRECTIONAL),
        DmaMisuse.OUT_OF_RANGE: lambda: dma.dma_sync_single_for_cpu(buffer, 65, DMA_FROM_DEVICE),
        DmaMisuse.WRONG_SIZE: lambda: dma.dma_unmap_single(buffer, 60, DMA_FROM_DEVICE),
        DmaMisuse.WRONG_DIRECTION: lambda: dma.dma_unmap_single(buffer, 64, DMA_TO_DEVICE),
    }


def give_back(dma):
    for mapping in dma.mappings:
        if mapping.coherent:
            dma.dma_free_coherent(mapping.size, mapping.handle)
        else:
            dma.dma_unmap_single(mapping.handle, mapping.size, mapping.direction)


@pytest.mark.parametrize("misuse", DmaMisuse)
def test_misuse_raises_and_changes_nothing(dma, misuse):
    call = misuses(dma)[misuse]
    before = dma.mappings
    with refused(r"\] dma_\w+: ") as error:
        call()
    assert error.value.errno == errno.EINVAL
    assert dma.mappings == before
    give_back(dma)


@pytest.mark.parametrize("misuse", DmaMisuse)
def test_misuse_is_told_to_a_watcher_and_does_not_raise(dma, misuse, watcher):
    misuses(dma)[misuse]()
    assert watcher.misuses == [misuse]
    give_back(dma)
    assert watcher.misuses == [misuse]


def test_what_is_unmapped_twice_is_told(dma):
    handle = dma.dma_map_single(b"x", DMA_TO_DEVICE)
    dma.dma_unmap_single(handle, 1, DMA_TO_DEVICE)
    with refused("given back twice, or never mapped"):
        dma.dma_unmap_single(handle, 1, DMA_TO_DEVICE)


def test_a_watcher_hears_of_all_that_changes_hands(dma, watcher):
    buffer = bytearray(b"bytes")
    handle = dma.dma_map_single(buffer, DMA_TO_DEVICE)
    dma.dma_sync_single_for_cpu(handle, 5, DMA_TO_DEVICE)
    dma.dma_sync_single_for_device(handle, 5, DMA_TO_DEVICE)
    dma.dma_unmap_single(handle, 5, DMA_TO_DEVICE)
    _, ring = dma.dma_alloc_coherent(4)
    dma.dma_free_coherent(4, ring)
    assert watcher.calls == [
        ("mapped", handle),
        ("cpu", handle, True),
        ("device", handle, False),
        ("unmapping", handle, b"bytes"),
        ("mapped", ring),
        ("unmapping", ring, bytes(4)),
    ]
