"""What a guest's driver, or somebody who is none, does to the card."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.device.card cimport E1000Device

from fuzz_script cimport Script

cdef object take_card(E1000Device given, Script* played)
cdef void access(uint32_t action) noexcept nogil
cdef void write(uint32_t offset, uint32_t value) noexcept nogil
cdef uint32_t read(uint32_t offset) noexcept nogil
cdef void write_memory() noexcept nogil
cdef void put_packet() noexcept nogil
cdef void write_descriptor(int ring, uint32_t slot, uint64_t address, uint64_t word) noexcept nogil
cdef void write_tx_descriptors() noexcept nogil
cdef void write_rx_descriptors() noexcept nogil
cdef void set_rings() noexcept nogil
cdef void ring_doorbell() noexcept nogil
cdef void send_segments() noexcept nogil
cdef void access_phy() noexcept nogil
cdef void move_mdio() noexcept nogil
cdef void access_eeprom() noexcept nogil
cdef void reset() noexcept nogil
