"""``python -m benchmarks.services``, within a test fleet."""

from benchmarks.services.run import main

if __name__ == "__main__":
    main()
