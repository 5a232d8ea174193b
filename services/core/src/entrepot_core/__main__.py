"""`python -m entrepot_core`."""

from entrepot_core.cli import main

if __name__ == "__main__":
    main()
