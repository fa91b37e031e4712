"""`python -m prescaler` is the command `prescaler`."""

from prescaler.cli import main

main()
