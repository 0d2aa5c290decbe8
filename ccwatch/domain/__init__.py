"""The rules of the domain, each written once: pure functions on arrays and small incremental states. No socket, file, thread or clock."""
