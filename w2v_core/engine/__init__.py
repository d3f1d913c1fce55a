"""The machine: buckets, slots, graphs, the pipeline and CTC decoding."""
