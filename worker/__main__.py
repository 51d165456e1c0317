"""`python -m worker VERB`, the same as `photo-worker VERB`."""

from worker.cli.main import main

if __name__ == "__main__":
    main()
