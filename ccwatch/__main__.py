"""`python -m ccwatch` is the command line."""

from ccwatch.cli import main

main()
