"""The wire beyond plain JSON: compression of the transport (RFC 7692), and protocol 2. Pure: no socket, no thread, no clock."""
