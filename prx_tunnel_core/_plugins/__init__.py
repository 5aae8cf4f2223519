"""Find plugins, load the ones that are asked for, and say what is wrong with the others.

    discovery.py   which are installed: metadata only, nothing imported
    loading.py     import one, check its hooks, ask what it yields
    registry.py    `PluginRegistry`: by name, by table, with conflicts and the off-switch
    listing.py     all of them, for a person
    choices.py     the backends that could be chosen here, the best one first
    names.py       which names a configuration may use, and what a misspelt one was meant to be
    observers.py   call the hooks that tell what happens to a tunnel

Each plugin is found, imported, asked and told alone: a broken one is known by its distribution and
harms only who selects it.
"""

from prx_tunnel_core._plugins.discovery import FoundPlugin, find_installed
from prx_tunnel_core._plugins.listing import ListedPlugin
from prx_tunnel_core._plugins.registry import SWITCH, PluginRegistry

__all__ = ["SWITCH", "FoundPlugin", "ListedPlugin", "PluginRegistry", "find_installed"]
