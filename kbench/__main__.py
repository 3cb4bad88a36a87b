"""`python -m kbench`: the command line."""

from kbench.cli import main

main()
