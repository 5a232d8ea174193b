"""`python -m entrepot_gateway`."""

import sys

from entrepot_gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
