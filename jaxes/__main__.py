"""`python -m jaxes` is `jaxes`."""

import sys

from jaxes.cli import main

sys.exit(main())
