"""Bytes to packets and back: the contract's decoder, one made per layout, and the tolerant one that reads any message."""
