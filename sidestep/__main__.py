"""``python -m sidestep`` is the ``sidestep`` command."""

from sidestep.console.cli import main

if __name__ == "__main__":
    main()
