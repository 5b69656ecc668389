"""Everything that touches mmengine. Importing this mends mmengine and registers all of ours in its root registries.

A config says so by ``custom_imports = dict(imports=["msgnn_plugin.adapters.mmengine"], allow_failed_imports=False)``.
"""

from msgnn_plugin.adapters.mmengine import compat
from msgnn_plugin.adapters.mmengine.registration import register_all

compat.apply()
register_all()
