"""The `basicsr` command, one file a sub-command."""
