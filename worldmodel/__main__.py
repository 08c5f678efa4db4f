"""`python -m worldmodel`, which is also what `accelerate launch -m worldmodel` starts."""

import sys

from worldmodel.cli.main import main

sys.exit(main())
