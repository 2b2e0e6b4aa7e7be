"""The receive ring, and how a frame gets into its buffers: for cimport only."""
