"""GroContext: what a NAPI holds back of the packets it received, for more of their flow (napi_struct's part of GRO)."""


cdef class GroContext:
    """Subclass in Python: keep `held` right and override `on_flush`. Softirq: from the poll of the one NAPI whose `gro` it is."""

    cdef void flush_held(self, bint old) noexcept nogil:
        with gil:
            try:
                self.on_flush(old)
            except BaseException as error:      # a completion cannot raise: kept for whoever runs the loop
                self.error = error

    def on_flush(self, old):
        """napi_gro_flush: pass up what is held; `old`: only what has been since an earlier jiffy."""
        raise NotImplementedError(f"{type(self).__name__} does not override on_flush")
