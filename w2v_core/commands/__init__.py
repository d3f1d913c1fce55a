"""The commands behind w2v, one file each."""
