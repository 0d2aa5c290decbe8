"""The live side: connection, thread, buffer, health, and the seeded stream."""
