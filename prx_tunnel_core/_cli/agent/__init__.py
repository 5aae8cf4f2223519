"""`prx start`: an agent and its tunnel, started, stopped and restarted together."""
