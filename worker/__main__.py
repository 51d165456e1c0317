"""`python -m worker VERB`, the same as `photo-worker VERB`."""

from worker.cli import main

if __name__ == "__main__":
    main()
