"""Everything that touches BasicSR. Importing this imports nothing of it; `register` does."""


def register() -> None:
    """Import BasicSR with its mends and put everything of ours into its registries; calling it twice is harmless.

    Raises:
        ImportError: If BasicSR or something it imports is missing.
    """
    from msgnn_plugin.adapters.basicsr.registration import register_all

    register_all()


__all__ = ["register"]
