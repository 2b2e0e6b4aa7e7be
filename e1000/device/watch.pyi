"""Register accesses of a card that somebody looks at: for cimport only."""
