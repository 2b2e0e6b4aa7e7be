"""Histogram: values to 1 in 128, over all of 64 bits, in constant memory.

Log-linear, as HdrHistogram with two significant digits: buckets that double, each cut into as many parts; no value is clipped.
https://hdrhistogram.github.io/HdrHistogram/ plots what `percentiles_text` returns.
"""

import math

MOST = (1 << 63) - 1


cdef uint64_t highest_of(uint32_t index) noexcept nogil:
    """The largest value that is counted at `index`."""
    cdef uint32_t bucket = 0 if index < SUB_BUCKETS else index // HALF - 1
    return (<uint64_t>(index - bucket * HALF) + 1 << bucket) - 1


cdef class Histogram:
    """Counts values of 0 to 2^63 - 1, without a unit. What it says of one is at most 1/128 above it, and never below."""

    def __cinit__(self):
        self.counts.least = <uint64_t>-1

    def record(self, uint64_t value):
        """Count a value, from Python. Raises ValueError beyond 2^63 - 1."""
        if value > MOST:
            raise ValueError(f"a value is 0 to {MOST}, not {value}")
        record(&self.counts, value)

    def add(self, Histogram other not None):
        """Add another's counts."""
        cdef uint32_t i
        for i in range(COUNTS):
            self.counts.count[i] += other.counts.count[i]
        self.counts.total += other.counts.total
        self.counts.sum += other.counts.sum
        self.counts.squares += other.counts.squares
        self.counts.least = min(self.counts.least, other.counts.least)
        self.counts.most = max(self.counts.most, other.counts.most)

    @property
    def total(self):
        """Values counted."""
        return self.counts.total

    @property
    def min(self):
        """The smallest, exactly; 0 if there is none."""
        return self.counts.least if self.counts.total else 0

    @property
    def max(self):
        """The largest, exactly."""
        return self.counts.most

    @property
    def mean(self):
        """Exactly, as long as the sum is below 2^64."""
        return <double>self.counts.sum / self.counts.total if self.counts.total else 0.0

    @property
    def stdev(self):
        """The standard deviation of all that was counted."""
        if not self.counts.total:
            return 0.0
        return math.sqrt(max(self.counts.squares / self.counts.total - self.mean ** 2, 0.0))

    def percentile(self, double percentile):
        """The value that `percentile` percent of all are not above, to 1/128; 0 if there is none. Raises ValueError outside 0 to 100."""
        if not 0 <= percentile <= 100:
            raise ValueError(f"a percentile is 0 to 100, not {percentile:g}")
        cdef uint64_t wanted = max(math.ceil(percentile / 100 * self.counts.total), 1), seen = 0
        cdef uint32_t i
        for i in range(COUNTS):
            seen += self.counts.count[i]
            if seen >= wanted:
                return min(highest_of(i), self.counts.most)
        return self.counts.most

    def buckets(self):
        """(largest value, count) of every part that has any, in order."""
        cdef uint32_t i
        return [(highest_of(i), self.counts.count[i]) for i in range(COUNTS) if self.counts.count[i]]

    def percentiles_text(self, *, double scale=1.0, uint32_t ticks=5):
        """The percentile distribution in HdrHistogram's text format, values divided by `scale`: for its plotters.

        `ticks`: lines for each halving of the distance to 100 %.
        """
        if not scale > 0 or not ticks:
            raise ValueError(f"a scale is above 0 and there is a tick at least, not {scale:g} and {ticks}")
        lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
        seen, level = 0, 0.0
        for value, count in self.buckets():
            seen += count
            value = min(value, self.counts.most) / scale
            here = seen / self.counts.total
            while level <= here and seen < self.counts.total:
                lines.append(f"{value:12.3f} {level:14.12f} {seen:10d} {1 / (1 - level):14.2f}")
                level += 1 / (ticks * 2.0 ** (math.floor(-math.log2(1 - level)) + 1))
        if self.counts.total:
            lines.append(f"{self.counts.most / scale:12.3f} {1.0:14.12f} {self.counts.total:10d}")
        lines += [f"#[Mean    = {self.mean / scale:12.3f}, StdDeviation   = {self.stdev / scale:12.3f}]",
                  f"#[Max     = {self.counts.most / scale:12.3f}, Total count    = {self.counts.total:12d}]",
                  f"#[Buckets = {COUNTS // HALF - 1:12d}, SubBuckets     = {SUB_BUCKETS:12d}]"]
        return "\n".join(lines) + "\n"

    def __repr__(self):
        return f"<Histogram: {self.counts.total} values, {self.min} to {self.max}>"
