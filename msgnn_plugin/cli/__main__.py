"""Run the command as `python -m msgnn_plugin.cli`, the form that torchrun wants."""

import sys

from msgnn_plugin.cli.main import main

sys.exit(main())
