"""The parts of every stream, live, recorded or synthetic: sources, sinks, frames, and the registry of running feeds."""
