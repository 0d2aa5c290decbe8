"""The wire beyond plain JSON: compression (RFC 7692) and the deltas of protocol 2. Pure: no socket, no thread, no clock."""
