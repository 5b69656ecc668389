"""Image deraining networks (MSGNN) and their plugs into restoration toolboxes. Importing this needs torch alone."""

__version__ = "0.1.0"
