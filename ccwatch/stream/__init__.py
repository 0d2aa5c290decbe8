"""What every stream has, live, recorded or synthetic: sources, sinks, frames, and the registry of what runs."""
