"""Providers of webhooks on loopback, after the public descriptions of their APIs."""
