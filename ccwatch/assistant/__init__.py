"""Tools for assistants: recordings, frames and answers over the Model Context Protocol. It offers no command to an engine."""
