"""Find plugins, load the selected ones, and report what is wrong with the others.

    loading.py     find the installed ones (metadata only); import one and check its hooks
    registry.py    `PluginRegistry`: by name, by table, conflicts, the off-switch, the list
    choices.py     the backends that could be chosen on this machine, the best one first
    names.py       the names that a configuration may use, and suggestions for misspelt ones

Each plugin is found and imported alone, so a broken one is reported with its distribution and
affects only a tunnel that selects it.
"""

from prx_tunnel_core._plugins.loading import FoundPlugin, find_installed
from prx_tunnel_core._plugins.registry import SWITCH, ListedPlugin, PluginRegistry

__all__ = ["SWITCH", "FoundPlugin", "ListedPlugin", "PluginRegistry", "find_installed"]
